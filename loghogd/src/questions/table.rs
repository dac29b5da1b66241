//! How figures look to people: columns, thousands, colours. Pure, but for asking the terminal.
//! Cells -> lines with columns below one another.
//! Invariant: colours are for terminals only, and never where NO_COLOR is set.
//! Leaves out: which figures.

use std::io::IsTerminal;

/// Lines of a table. The columns named in `right` are set to the right.
pub(super) fn lines<const N: usize>(
    head: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> Vec<String> {
    let head: [String; N] = head.map(str::to_owned);
    let rows: Vec<[String; N]> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match right.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A whole number with its thousands parted: `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate as people read it.
pub(super) fn whole(number: f64) -> u64 {
    // Not negative, and far below what would not fit.
    if number.is_finite() { number.max(0.0).round() as u64 } else { 0 }
}

/// A colour for words on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paint {
    Green,
    Yellow,
    Red,
    Bold,
}

/// Colours words, if whoever reads stdout sees colours.
pub(super) fn paint(paint: Paint, text: &str) -> String {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_plain || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    // Select Graphic Rendition (ECMA-48, 8.3.117).
    let code = match paint {
        Paint::Green => "32",
        Paint::Yellow => "33",
        Paint::Red => "31;1",
        Paint::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Text that a peer chose, on one line of a terminal.
pub(super) fn tame(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|shown| if shown.is_control() { '\u{FFFD}' } else { shown }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let rows = [["a".to_owned(), "1,000".to_owned()], ["long".to_owned(), "1".to_owned()]];
        assert_eq!(
            lines(&["NAME", "NUMBER"], rows, &[1]),
            ["NAME  NUMBER", "a      1,000", "long       1"]
        );
    }

    #[test]
    fn thousands_are_parted() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_a_peer_chose_cannot_steer_a_terminal() {
        assert_eq!(tame("a\x1b]0;x\x07\nb"), "a\u{FFFD}]0;x\u{FFFD}\u{FFFD}b");
    }
}
