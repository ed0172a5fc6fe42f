//! HTTP dates (RFC 9110, section 5.6.7) as seconds since the Unix epoch.
//!
//! All three forms that a recipient must read. It does not know what a date is for.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// None for what is no HTTP date.
pub fn parse(text: &str) -> Option<i64> {
    let parts: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        // `Sun, 06 Nov 1994 08:49:37 GMT` and `Sunday, 06-Nov-94 08:49:37 GMT`
        [_, day, month, year, hour, minute, second, "GMT"] => {
            seconds(year, month, day, [hour, minute, second])
        }
        // `Sun Nov  6 08:49:37 1994`
        [_, month, day, hour, minute, second, year] => seconds(year, month, day, [hour, minute, second]),
        _ => None,
    }
}

fn seconds(year: &str, month: &str, day: &str, time: [&str; 3]) -> Option<i64> {
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = i64::try_from(month).ok()? + 1;
    let day = number(day, 31).filter(|day| *day > 0)?;
    let days = days_since_epoch(full_year(number(year, 9999)?), month, day);
    let [hour, minute, second] = time;
    // 60 is a leap second
    Some(days * 86_400 + number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?)
}

fn number(text: &str, max: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (0..=max).contains(number))
}

/// Two digits are a year of the century that is nearer to 2020.
fn full_year(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

/// Days of the Gregorian calendar; a year begins in March, so that a leap day is its last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms_of_the_standard() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in ["", "7", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
