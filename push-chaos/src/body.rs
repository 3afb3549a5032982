//! What messages say: their number, and a filling that follows from it.

use crate::ledger::Number;

/// The text of a message: a JSON string.
pub fn text(number: Number) -> String {
    let mut text = format!("\"{number}:");
    let letter = char::from(b'a' + (number % 26) as u8);
    text.extend(std::iter::repeat_n(letter, len(number)));
    text.push('"');
    text
}

/// Mostly some 300 bytes; some fill a TCP segment or several.
fn len(number: Number) -> usize {
    match number % 97 {
        0 => 20_000,
        1..9 => 3_000,
        _ => 300,
    }
}

/// The number of the message that says this; `None` if no message does.
pub fn number(body: &str) -> Option<Number> {
    let (number, _) = body.strip_prefix('"')?.split_once(':')?;
    let number: Number = number.parse().ok()?;
    (text(number) == body).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_number_and_nothing_else_does() {
        for of in [0, 1, 50, 97, 1_000_000] {
            let text = text(of);
            assert_eq!(number(&text), Some(of));
            assert_eq!(number(&text[..text.len() - 2]), None);
            assert_eq!(number(&text.replacen(':', "0:", 1)), None);
        }
        assert_eq!(number(""), None);
        assert_eq!(number("\"x:\""), None);
    }
}
