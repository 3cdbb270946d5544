//! What somebody may have meant.

use crate::config::distance;

/// The name that is nearest, where one is near.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.into_iter().map(|name| (distance(name, wrong), name)).min();
    let length = wrong.chars().count();
    near.filter(|(steps, _)| *steps < length && *steps <= 1 + length / 4).map(|(_, name)| name)
}

/// `did you mean "close"?` where a name is near, otherwise what names there are.
pub(super) fn suggest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    const MOST: usize = 30;
    let mut names: Vec<_> = names.into_iter().collect();
    if let Some(name) = nearest(wrong, names.iter().copied()) {
        return format!("did you mean \"{name}\"?");
    }
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    match (names.as_slice(), more) {
        ([], _) => format!("known {what}: none"),
        (names, 0) => format!("known {what}: {}", listed(names, "and")),
        (names, more) => format!("known {what}: {} and {more} more", names.join(", ")),
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
