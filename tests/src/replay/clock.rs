//! Points in time as the server writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// How far the server's idea of a second may be from the test's.
const SLACK: u64 = 2;

/// Now, in Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Fails unless `time` lies between `since` and now, both in Unix seconds.
pub fn check(time: u64, since: u64) -> Result<(), String> {
    let now = now();
    if time + SLACK < since || time > now + SLACK {
        return Err(format!("time {time} is not between {since} and {now}"));
    }
    Ok(())
}

/// Unix seconds of an RFC 1123 date, e.g. `Mon, 23 Nov 2026 04:29:21 GMT`.
pub fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().ok())?
    };
    let month = MONTHS.iter().position(|&name| text.get(8..11) == Some(name))? as u64 + 1;
    let (day, year) = (number(5..7)?, number(12..16)?);
    let days = days_since_1970(year, month, day);
    let time = days * 86_400 + number(17..19)? * 3_600 + number(20..22)? * 60 + number(23..25)?;
    let frame = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize - 1],
        time / 3_600 % 24,
        time / 60 % 60,
        time % 60,
    );
    (frame == text).then_some(time)
}

/// Of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = (1..month)
        .map(|month| match month {
            2 => 28 + u64::from(leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        })
        .sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_http_date("Mon, 23 Nov 2026 04:29:21 GMT"), Some(1_795_408_161));
        // The wrong day of the week, a blank too many, a month without that day.
        assert_eq!(parse_http_date("Tue, 23 Nov 2026 04:29:21 GMT"), None);
        assert_eq!(parse_http_date("Mon, 23 Nov 2026  4:29:21 GMT"), None);
        assert_eq!(parse_http_date("Mon, 23 Nov 2026 04:29:21"), None);
    }

    #[test]
    fn times_lie_between_the_start_and_now() {
        let now = now();
        assert!(check(now, now - 1).is_ok());
        assert!(check(now - 60, now - 1).is_err());
        assert!(check(now + 60, now - 1).is_err());
    }
}
