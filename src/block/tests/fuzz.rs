//! Blocks whose makers knew the format and the seal, and meant harm.

use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};

use super::description;
use super::golden::{Golden, golden};
use crate::block::{BlockMeta, encode};
use crate::mutate::{Dice, mutate, times};

/// What readers of Parquet look for.
const WORDS: [&[u8]; 6] =
    [b"PAR1", b"\xff\xff\xff\xff\x0f", b"\x15\x80\x80\x04", b"\x28\xb5\x2f\xfd", b"ARROW:schema", b"\x8c"];

/// Where the footer begins.
fn footer(file: &[u8]) -> usize {
    let length: [u8; 4] = file[file.len() - 8..file.len() - 4].try_into().unwrap();
    file.len() - 8 - u32::from_le_bytes(length) as usize
}

/// The block with pages or footer changed, and the length of the footer made right again.
fn forged(golden: &Golden, dice: &mut Dice) -> Vec<u8> {
    let (file, start) = (&golden.file, footer(&golden.file));
    let (mut pages, mut end) = (file[..start].to_vec(), file[start..file.len() - 8].to_vec());
    match dice.roll(3) {
        0 => pages = [&file[..28], &mutate(&pages[28..], &WORDS, dice)].concat(),
        1 => end = mutate(&end, &WORDS, dice),
        _ => return mutate(file, &WORDS, dice),
    }
    let length = (end.len() as u32).to_le_bytes();
    [pages, end, length.to_vec(), b"PAR1".to_vec()].concat()
}

#[test]
fn blocks_forged_under_a_right_seal_do_not_panic() {
    let (count, mut read) = (times(40_000, 1_000_000), 0);
    let all = golden();
    for seed in 0..count {
        let (golden, mut dice) = (&all[seed as usize % all.len()], Dice::new(seed));
        let file = forged(golden, &mut dice);
        read += u64::from(golden.forge(file, &format!("seed {seed}")));
    }
    eprintln!("{count} forged blocks: {read} read, {} refused, 0 panics", count - read);
    assert!(read > 0 && read < count, "the forgeries are too coarse or too fine");
}

#[test]
fn a_footer_that_claims_any_numbers_does_not_panic() {
    let count = times(20_000, 300_000);
    let golden = &golden()[0];
    let file = bytes::Bytes::from(golden.file.clone());
    let honest = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let mut read = 0;
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let mut number = |honest: i64| match dice.roll(8) {
            0 => dice.bits() as i64,
            1 => 1 << dice.roll(64),
            2 => -1,
            3 => dice.roll(golden.file.len()) as i64,
            _ => honest,
        };
        let group = honest.row_group(0).clone();
        let columns = group.columns().iter().map(|column| {
            let (page, size) = (number(column.data_page_offset()), number(column.compressed_size()));
            let builder = column.clone().into_builder().set_data_page_offset(page);
            // The library's writer adds the sizes up.
            let builder = builder.set_total_compressed_size(size.clamp(-(1 << 60), 1 << 60));
            let dictionary = column.dictionary_page_offset().map(&mut number);
            builder.set_dictionary_page_offset(dictionary).set_num_values(number(60)).build().unwrap()
        });
        let columns: Vec<_> = columns.collect();
        let group = group.into_builder().set_column_metadata(columns).set_num_rows(number(60)).build().unwrap();
        let forged = honest.clone().into_builder().set_row_groups(vec![group]).build();
        let mut bytes = golden.file[..footer(&golden.file)].to_vec();
        if ParquetMetaDataWriter::new(&mut bytes, &forged).finish().is_ok() {
            read += u64::from(golden.forge(bytes, &format!("seed {seed}")));
        }
    }
    eprintln!("{count} forged footers: {read} read, 0 panics");
    assert!(read < count);
}

#[test]
fn what_a_block_says_of_itself_may_say_anything() {
    let count = times(50_000, 500_000);
    let honest = [
        ("larder.view", "prices"),
        ("larder.fingerprint", "ce20d9dfd7046a750a2891dbead1269d"),
        ("larder.entity", r#"{"account":-7,"symbol":"ETH/USDT"}"#),
        ("larder.start", "1709251200000000000"),
        ("larder.end", "1709337600000000000"),
        ("larder.known_until", "1709337600000000000"),
        ("larder.rows", "3"),
        ("larder.created", "1709337600000000000"),
        ("larder.compute_ms", "1.25"),
        ("larder.newest_created", "5"),
    ];
    let honest = honest.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    BlockMeta::parse(&honest).unwrap();
    let words: [&[u8]; 8] = [b"NaN", b"inf", b"1e308", b"-0", b"\"", b"\\u0000", b"..", b"{}"];
    let mut parsed = 0;
    for seed in 0..count {
        let (mut pairs, mut dice) = (honest.clone(), Dice::new(seed));
        for _ in 0..=dice.roll(2) {
            let at = dice.roll(pairs.len());
            pairs[at].1 = String::from_utf8_lossy(&mutate(pairs[at].1.as_bytes(), &words, &mut dice)).into_owned();
        }
        if let Ok(meta) = BlockMeta::parse(&pairs) {
            parsed += 1;
            assert_eq!(BlockMeta::parse(&meta.description()).unwrap(), meta, "seed {seed}: {pairs:?}");
        }
    }
    eprintln!("{count} forged descriptions: {parsed} understood, and read back as the same; 0 panics");
    assert!(parsed > count / 100 && parsed < count);
}

#[test]
fn a_description_of_any_text_is_kept_as_it_is() {
    let golden = &golden()[2];
    for seed in 0..times(300, 3_000) {
        let mut dice = Dice::new(seed);
        let text = String::from_utf8_lossy(&mutate(b"larder.view\0\"'; DROP", &[b"\xc3\xa9"], &mut dice)).into_owned();
        let pairs = [description(), vec![(format!("x{text}"), text)]].concat();
        let file = encode(&golden.batch, &pairs, 3).unwrap();
        assert_eq!(crate::block::describe(&file.into()).unwrap().description, pairs, "seed {seed}");
    }
}
