//! Which names the parts of a path stand for.

use std::path::{Component, Path};

use crate::error::{Error, Result};

/// One part of a path pattern, between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// This very name.
    Literal(String),
    /// Names with `*`, `?` or `[…]`.
    Glob(Glob),
    /// `**`: any number of directories.
    Any,
}

/// The parts of an absolute path.
///
/// # Errors
/// `Invalid` where the path is not UTF-8, or a `[` is not closed.
pub(super) fn segments(path: &Path) -> Result<Vec<Segment>> {
    let named = path.components().filter(|component| !matches!(component, Component::RootDir));
    let segment = |component: Component<'_>| {
        let text = component
            .as_os_str()
            .to_str()
            .ok_or_else(|| Error::invalid(format!("the path {} is not UTF-8: rename what it names", path.display())))?;
        match text {
            "**" => Ok(Segment::Any),
            _ if is_pattern(text) => Glob::new(text).map(Segment::Glob),
            _ => Ok(Segment::Literal(text.to_owned())),
        }
    };
    named.map(segment).collect()
}

/// Names with `*` (any characters), `?` (one), `[a-z]` (one of these) or `[!a-z]` (one of the others).
///
/// A wildcard at the beginning stands for no `.` and no `_`, with which names begin that are not data, such as
/// `_SUCCESS` and what is still being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    fn new(text: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '[' => {
                    let (class, behind) = class(rest.as_str())
                        .ok_or_else(|| Error::invalid(format!("{text:?} has a [ that is not closed")))?;
                    rest = behind.chars();
                    class
                }
                other => Token::Char(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether it stands for `name`.
    pub(super) fn matches(&self, name: &str) -> bool {
        let wild = !matches!(self.0.first(), Some(Token::Char(_)));
        !(wild && is_hidden(name)) && matches(&self.0, &name.chars().collect::<Vec<_>>())
    }
}

/// Whether a text has a character with a meaning in patterns.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether `pattern`, in which `*`, `?` and `[…]` mean what they do in file names, stands for `name`.
#[cfg(feature = "cli")]
pub(crate) fn is_match(pattern: &str, name: &str) -> bool {
    Glob::new(pattern).is_ok_and(|glob| glob.matches(name))
}

/// Whether a name is that of something that is no data.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// The class that begins behind a `[`, and what follows it. A `]` that comes first stands for itself.
fn class(text: &str) -> Option<(Token, &str)> {
    let (negated, inside) = match text.strip_prefix('!') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let end = inside.char_indices().skip(1).find(|(_, c)| *c == ']')?.0;
    let members: Vec<char> = inside.get(..end)?.chars().collect();
    let mut ranges = Vec::new();
    let mut rest = members.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        rest = match behind {
            ['-', last, behind @ ..] => {
                ranges.push((*first, *last));
                behind
            }
            _ => {
                ranges.push((*first, *first));
                behind
            }
        };
    }
    Some((Token::Class { negated, ranges }, inside.get(end + 1..)?))
}

/// Only the last `*` is ever tried again, so the work is at most the product of both lengths.
fn matches(mut tokens: &[Token], mut name: &[char]) -> bool {
    let mut again: Option<(&[Token], &[char])> = None;
    loop {
        match (tokens, name) {
            ([], []) => return true,
            ([Token::Many, behind @ ..], _) => {
                again = Some((behind, name));
                tokens = behind;
                continue;
            }
            ([token, behind @ ..], [c, rest @ ..]) if token.matches(*c) => {
                (tokens, name) = (behind, rest);
                continue;
            }
            _ => {}
        }
        let Some((behind, [_, rest @ ..])) = again else { return false };
        again = Some((behind, rest));
        (tokens, name) = (behind, rest);
    }
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => true,
            Self::Many => false,
            Self::Class { negated, ranges } => ranges.iter().any(|(a, z)| (*a..=*z).contains(&c)) != *negated,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn wildcards_stand_for_what_a_shell_says() {
        for (pattern, yes, no) in [
            ("*.parquet", "a.parquet", "a.csv"),
            ("a*b*c", "a-b-b-c", "a-c-b"),
            ("bars_?.csv", "bars_é.csv", "bars_.csv"),
            ("[a-c]x", "bx", "dx"),
            ("[!a-c]x", "dx", "bx"),
            ("[]a]", "]", "b"),
            ("x[-a]", "x-", "xb"),
            ("symbol=*", "symbol=BRK%2FB", "venue=x"),
            ("*", "x", "_SUCCESS"),
            ("*", "x", ".x.parquet"),
            ("_*", "_x", "x"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(Glob::new("a[b").is_err());
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&"a*".repeat(30), &("a".repeat(200) + "!").replace('!', "b!")[..200].replace('a', "b")));
        assert!(!matches(&("a*".repeat(30) + "c"), &"a".repeat(2000)));
    }

    /// The same by trying everything.
    fn slowly(tokens: &[Token], name: &[char]) -> bool {
        match (tokens, name) {
            ([], []) => true,
            ([Token::Many, behind @ ..], _) => (0..=name.len()).any(|n| slowly(behind, &name[n..])),
            ([token, behind @ ..], [c, rest @ ..]) => token.matches(*c) && slowly(behind, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_trying_everything_matches(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let glob = Glob::new(&pattern).unwrap();
            prop_assert_eq!(super::matches(&glob.0, &name.chars().collect::<Vec<_>>()),
                slowly(&glob.0, &name.chars().collect::<Vec<_>>()));
        }

        #[test]
        fn no_text_is_too_strange(pattern in ".{0,20}", name in ".{0,20}") {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&name);
            }
        }
    }
}
