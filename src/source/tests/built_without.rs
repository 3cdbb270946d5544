use crate::definition::{Definitions, Environment};
use crate::error::ErrorKind;
use crate::source::Reader;

#[test]
fn a_program_built_without_postgresql_says_so_when_it_needs_it() {
    let text = "[source.bars]\nkind = \"postgres\"\nurl = \"postgres://reader@db/market\"\nevent_time = \"at\"\ntable = \"bars\"";
    let definitions = Definitions::of_texts([("a.toml".into(), text.to_owned())], Environment::default()).unwrap();
    let error = Reader::open(definitions.sources().values().next().unwrap(), &Environment::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "source bars: this program was built without PostgreSQL: build it with the cargo feature postgres"
    );
}
