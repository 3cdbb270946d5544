//! Text for people, as wide as their terminal.

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// Where nobody says how wide.
const USUAL_WIDTH: usize = 100;
/// The column in which the values of fields begin.
const LABEL_WIDTH: usize = 11;

/// How a text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Not as it should be.
    Bad,
    /// A title.
    Title,
}

impl Tone {
    /// `text` in this tone; the styles are taken out again where they are not wanted.
    pub fn paint(self, text: &str) -> String {
        let style = match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Title => Style::new(),
        };
        let style = style.bold();
        format!("{style}{text}{style:#}")
    }
}

/// Where the text in a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    /// The same, and never wrapped, because somebody will copy it.
    Whole,
    Right,
}

/// A text from outside with its control characters written out, so that none reaches the terminal: not even line
/// breaks.
pub fn plain(text: &str) -> String {
    let written = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(written).collect()
}

/// A text that grows line by line.
pub struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// An empty page as wide as the terminal.
    pub fn new() -> Self {
        Self::of_width(terminal_width())
    }

    fn of_width(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    /// A title, with an empty line before it.
    pub fn title(&mut self, text: &str) {
        self.gap();
        self.line(&Tone::Title.paint(text));
    }

    /// A sentence, wrapped.
    pub fn line(&mut self, text: &str) {
        self.hanging("", 0, text);
    }

    /// A line that is never wrapped, because somebody will copy it.
    pub fn verbatim(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// A name and its value, wrapped below itself.
    pub fn field(&mut self, label: &str, value: &str) {
        self.hanging(label, LABEL_WIDTH, value);
    }

    /// A table without lines. Cells wrap where the page is too narrow.
    pub fn table<const N: usize>(&mut self, columns: [(&str, Align); N], rows: impl IntoIterator<Item = [String; N]>) {
        self.grid(&columns, rows.into_iter().map(Vec::from));
    }

    /// The same where the number of columns is not known before.
    pub fn grid(&mut self, columns: &[(&str, Align)], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        table.set_header(columns.iter().map(|(name, _)| name.to_uppercase()));
        table.add_rows(rows);
        let between = self.between();
        for (column, (_, align)) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, u16::try_from(between).unwrap_or(u16::MAX)));
            column.set_cell_alignment(match align {
                Align::Left | Align::Whole => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
            if *align == Align::Whole {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for line in table.lines() {
            self.verbatim(line.trim_end());
        }
    }

    /// How many columns of this width fit beside a first one, each as wide as its text.
    pub fn fitting(&self, first: usize, each: usize) -> usize {
        self.width.saturating_sub(first + self.between()) / (each + self.between())
    }

    /// Whether columns of these widths fit side by side.
    pub fn holds(&self, widths: &[usize]) -> bool {
        widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * self.between() <= self.width
    }

    /// Columns between those of a table.
    fn between(&self) -> usize {
        if self.width < 72 { 1 } else { 2 }
    }

    /// An empty line, unless there is one or nothing yet.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Everything that was written.
    pub fn into_text(self) -> String {
        self.text
    }

    fn hanging(&mut self, label: &str, indent: usize, text: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{label:<indent$}");
        let mut column = indent.max(label.chars().count());
        let mut first = true;
        for word in unbroken(text) {
            let length = anstream::adapter::strip_str(&word).to_string().chars().count();
            let space = usize::from(!first);
            if !first && column + space + length > self.width {
                let _ = write!(self.text, "\n{:indent$}{word}", "");
                column = indent + length;
            } else {
                self.text.push_str(if first { "" } else { " " });
                self.text.push_str(&word);
                column += space + length;
            }
            first = false;
        }
        self.text.push('\n');
    }
}

/// The words of a text, each number with what it counts, and what stands between backticks in one piece.
fn unbroken(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for word in text.split(' ') {
        match words.last_mut() {
            Some(last) if open => *last += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
        let last = words.last().map_or("", String::as_str);
        open = is_number(word) || !last.matches('`').count().is_multiple_of(2);
    }
    words
}

fn is_number(word: &str) -> bool {
    let word = anstream::adapter::strip_str(word).to_string();
    let digit = |c: char| c.is_ascii_digit();
    let number = word.trim_start_matches(['(', '-']);
    number.starts_with(digit) && number.ends_with(digit) && number.chars().all(|c| digit(c) || ".,".contains(c))
}

fn terminal_width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    set.or_else(measured).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH).max(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_wrap_below_themselves_and_styles_take_no_room() {
        let mut page = Page::of_width(30);
        page.field("Coverage", &format!("one two {} four five six", Tone::Good.paint("three")));
        let text = anstream::adapter::strip_str(&page.into_text()).to_string();
        assert_eq!(text, "Coverage   one two three four\n           five six\n");
    }

    #[test]
    fn a_number_keeps_its_unit_and_a_command_its_arguments() {
        let words = unbroken("at least 95 % of (1,000 requests), `larder stats --misses` shows 2 days 15 h, 5.");
        let expected = [
            "at",
            "least",
            "95 %",
            "of",
            "(1,000 requests),",
            "`larder stats --misses`",
            "shows",
            "2 days",
            "15 h,",
            "5.",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_somebody_will_copy_is_in_one_piece() {
        let mut page = Page::of_width(40);
        let row = ["FeatureStoreHitRatioCritical", "fewer than so many"].map(str::to_owned);
        page.table([("alert", Align::Whole), ("says that", Align::Left)], [row]);
        let text = page.into_text();
        assert!(text.contains("FeatureStoreHitRatioCritical ") && text.lines().all(|line| line.len() <= 40), "{text}");
    }

    #[test]
    fn a_table_stays_within_the_page() {
        let mut page = Page::of_width(40);
        let cell = "a rather long text that has to wrap somewhere".to_owned();
        page.table([("file", Align::Left), ("size", Align::Right)], [[cell, "12.3 MB".to_owned()]]);
        let text = page.into_text();
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }
}
