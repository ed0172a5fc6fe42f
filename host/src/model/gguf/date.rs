//! `strftime` for chat templates, which tell the model what day it is. In UTC.
//!
//! Only what such templates use; it does not know time zones or languages.

/// The fields of one moment.
struct Moment {
    year: i64,
    /// From 1.
    month: usize,
    day: i64,
    /// From Sunday, 0.
    weekday: usize,
    second_of_day: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Seconds since the Unix epoch in the words of a format; unknown directives stay as they are.
pub fn strftime(format: &str, seconds: i64) -> String {
    let moment = Moment::at(seconds);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('-') => {
                let padded = chars.next().map(|directive| moment.field(directive)).unwrap_or_default();
                text.push_str(padded.strip_prefix('0').filter(|rest| !rest.is_empty()).unwrap_or(&padded));
            }
            Some(directive) => text.push_str(&moment.field(directive)),
            None => text.push('%'),
        }
    }
    text
}

impl Moment {
    /// From the days of the Gregorian calendar; a year begins in March, so that a leap day is its last.
    fn at(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: usize::try_from(month).expect("1 to 12"),
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            weekday: usize::try_from((days + 4).rem_euclid(7)).expect("0 to 6"),
            second_of_day: seconds.rem_euclid(86_400),
        }
    }

    fn field(&self, directive: char) -> String {
        let hour = self.second_of_day / 3600;
        match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'B' => MONTHS[self.month - 1].to_owned(),
            'b' => MONTHS[self.month - 1][..3].to_owned(),
            'd' => format!("{:02}", self.day),
            'A' => WEEKDAYS[self.weekday].to_owned(),
            'a' => WEEKDAYS[self.weekday][..3].to_owned(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'M' => format!("{:02}", self.second_of_day / 60 % 60),
            'S' => format!("{:02}", self.second_of_day % 60),
            '%' => "%".to_owned(),
            other => format!("%{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_the_words_of_templates() {
        let second = 1_709_211_845;
        assert_eq!(strftime("%d %b %Y", second), "29 Feb 2024");
        assert_eq!(
            strftime("%A, %B %-d, %Y %I:%M:%S %p|%H%%%q", second),
            "Thursday, February 29, 2024 01:04:05 PM|13%%q"
        );
        assert_eq!(strftime("%a %y-%m-%-d", 0), "Thu 70-01-1");
        assert_eq!(strftime("%Y-%m-%d", -1), "1969-12-31");
    }
}
