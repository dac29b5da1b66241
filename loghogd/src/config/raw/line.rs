//! Says what a line of an INI file is.
//! The bytes of a line -> header, option, more of a value, nothing, or a fault.
//! Invariant: comments are cut before anything looks at the text.
//! Leaves out: which section a line belongs to.

/// What a line is.
pub(super) enum Line<'a> {
    /// Blank or a comment.
    Nothing,
    /// `[name]`; what follows is passed over.
    Header(&'a [u8]),
    /// `key = value` or `key: value`.
    Option {
        key: &'a [u8],
        value: &'a [u8],
        /// The value is empty because a comment took all of it.
        commented_out: bool,
    },
    /// More of the value of the option before.
    More(&'a [u8]),
    /// A `[` without its `]`.
    NoHeaderEnd,
    /// Neither `=` nor `:`.
    NoDelimiter,
    /// Nothing before `=` or `:`.
    NoKey,
}

/// Says what a line is. `open_indent`: the indentation of the option whose
/// value may go on here.
pub(super) fn classify(line: &[u8], open_indent: Option<usize>) -> Line<'_> {
    let text = line.trim_ascii();
    let indent = indent_of(line);
    if matches!(text.first(), None | Some(b'#' | b';')) || indent == 0 && is_remark(text) {
        return Line::Nothing;
    }
    if open_indent.is_some_and(|open| indent > open) {
        return Line::More(without_comment(text));
    }
    if let Some(inside) = text.strip_prefix(b"[") {
        return match inside.iter().position(|&byte| byte == b']') {
            Some(end) => Line::Header(inside.get(..end).unwrap_or_default().trim_ascii()),
            None => Line::NoHeaderEnd,
        };
    }
    let kept = without_comment(text);
    let Some(delimiter) = kept.iter().position(|byte| matches!(byte, b'=' | b':')) else {
        return Line::NoDelimiter;
    };
    let (key, value) = kept.split_at(delimiter);
    let (key, value) = (key.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii());
    if key.is_empty() {
        return Line::NoKey;
    }
    let commented_out = value.is_empty() && kept.len() < text.len();
    Line::Option { key, value, commented_out }
}

pub(super) fn indent_of(line: &[u8]) -> usize {
    line.len() - line.trim_ascii_start().len()
}

/// `rem` as the first word of a line, in any case.
fn is_remark(text: &[u8]) -> bool {
    let word = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    word.eq_ignore_ascii_case(b"rem")
}

/// Cuts at the first `;` that follows white space.
fn without_comment(text: &[u8]) -> &[u8] {
    let comment = text.windows(2).position(|pair| match pair {
        [before, b';'] => before.is_ascii_whitespace(),
        _ => false,
    });
    match comment {
        Some(blank) => text.get(..blank).unwrap_or_default().trim_ascii_end(),
        None => text,
    }
}
