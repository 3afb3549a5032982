//! What messages say: their number, and a filling that follows from it.

use crate::ledger::Number;

/// The text of a message: a JSON string.
pub fn text(number: Number) -> String {
    let mut text = format!("\"{number}:");
    text.extend(std::iter::repeat_n(char::from(letter(number)), len(number)));
    text.push('"');
    text
}

fn letter(number: Number) -> u8 {
    b'a' + (number % 26) as u8
}

/// Mostly some 300 bytes, the first 900 messages all; some fill a TCP segment or several.
fn len(number: Number) -> usize {
    match number % 1_000 {
        990.. => 20_000,
        900.. => 3_000,
        _ => 300,
    }
}

/// The number of the message that says this; `None` if no message does. Makes no string: millions
/// are read while the servers that share the machine are measured.
pub fn number(body: &str) -> Option<Number> {
    let (number, filling) = body.strip_prefix('"')?.strip_suffix('"')?.split_once(':')?;
    if number.starts_with(['0', '+']) && number != "0" {
        return None;
    }
    let number = number.parse().ok()?;
    let fits = filling.len() == len(number) && filling.bytes().all(|byte| byte == letter(number));
    fits.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_number_and_nothing_else_does() {
        for of in [0, 1, 950, 999, 1_000_999] {
            let text = text(of);
            assert_eq!(number(&text), Some(of));
            assert_eq!(number(&text[..text.len() - 2]), None);
            assert_eq!(number(&text.replacen(':', "0:", 1)), None);
        }
        let (one, of) = (text(1), &"a".repeat(300));
        assert_eq!(number(&one[..one.len() - 1]), None);
        for body in [String::new(), "\"x:\"".into(), format!("\"00:{of}\""), format!("\"+0:{of}\"")]
        {
            assert_eq!(number(&body), None, "{body}");
        }
    }
}
