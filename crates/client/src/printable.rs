//! What others have written, fit for a line of a log.

/// What is longer is cut.
const MAX_CHARS: usize = 200;

/// `text` in one line of at most [`MAX_CHARS`] characters and their escapes: controls, line
/// breaks and what turns the direction of writing are escaped as in a string's source.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(MAX_CHARS) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_of_bounded_length() {
        assert_eq!(printable("\"it's\" größer, 大きい"), "\"it's\" größer, 大きい");
        assert_eq!(printable("a\x1b[2J\r\n\u{7}b\u{202e}c"), r"a\u{1b}[2J\r\n\u{7}b\u{202e}c");
        assert_eq!(printable(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(printable(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }
}
