//! What somebody may have meant.

use crate::config::distance;

/// The name that is nearest, where one is near.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.into_iter().map(|name| (distance(name, wrong), name)).min();
    near.filter(|(steps, _)| *steps <= 1 + wrong.chars().count() / 4).map(|(_, name)| name)
}

/// `did you mean "close"?` where a name is near, otherwise what names there are: `the sources are a and b`.
pub(super) fn suggest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    const MOST: usize = 30;
    let mut names: Vec<_> = names.into_iter().collect();
    if let Some(name) = nearest(wrong, names.iter().copied()) {
        return format!("did you mean \"{name}\"?");
    }
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.as_slice(), more) {
        ([], _) => format!("there are no {what}"),
        (names, 0) => format!("the {what} are {}", listed(names, "and")),
        (names, more) => format!("the {what} are {} and {more} more", names.join(", ")),
    }
}

/// `a, b and c`.
pub(super) fn listed(names: &[impl AsRef<str>], last: &str) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((end, [])) => (*end).to_owned(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}
