//! Values in SQL text.

use std::fmt::Write;

/// Text.
pub(super) fn text(value: &str) -> String {
    if !value.contains('\0') {
        return format!("'{}'", value.replace('\'', "''"));
    }
    // A statement ends at a zero byte.
    let mut bytes = String::with_capacity(value.len() * 4);
    for byte in value.bytes() {
        let _ = write!(bytes, "\\x{byte:02X}");
    }
    format!("decode('{bytes}'::BLOB)")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use arrow::array::AsArray;
    use proptest::prelude::*;

    use super::super::engine::lease;
    use super::*;
    use crate::sql::quoted;

    fn answer(sql: &str) -> Vec<String> {
        let mut rows = Vec::new();
        let take = |batch: arrow::array::RecordBatch| {
            rows.extend(batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()));
            Ok::<_, Infallible>(())
        };
        lease().unwrap().query(sql, take).unwrap().unwrap();
        rows
    }

    proptest! {
        #[test]
        fn any_text_is_only_text(value in "(.|['\"\\\\\0;-]){0,20}") {
            prop_assert_eq!(answer(&format!("SELECT {}", text(&value))), [value]);
        }

        #[test]
        fn any_name_is_only_a_name(name in "[^\0]{1,20}") {
            let sql = format!("SELECT {0} FROM (SELECT 'x' AS {0})", quoted(&name));
            prop_assert_eq!(answer(&sql), ["x"]);
        }
    }
}
