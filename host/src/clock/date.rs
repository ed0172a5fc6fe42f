//! Wall time as people and programs write it: RFC 3339, in UTC, to the millisecond.

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::Millis;

/// `2026-02-28T23:59:59.999Z`.
const FORM: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const NANOS_IN_MILLI: i128 = 1_000_000;

/// `2026-02-28T23:59:59.999Z`; a time past the year 9999 is that year's end.
pub fn rfc3339(time: Millis) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * NANOS_IN_MILLI);
    let moment = moment.unwrap_or(time::macros::datetime!(9999-12-31 23:59:59.999 UTC));
    moment.format(FORM).expect("every part of the form is one of a date")
}

/// None for what is no time; one before 1970 is that year's beginning. What is finer than a millisecond is dropped.
pub fn from_rfc3339(text: &str) -> Option<Millis> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Millis::try_from(moment.unix_timestamp_nanos() / NANOS_IN_MILLI).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_rfc_3339_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_500, "2025-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
            assert_eq!(from_rfc3339(text), Some(millis));
        }
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn other_zones_are_read_and_nonsense_is_not() {
        assert_eq!(from_rfc3339("2000-02-29T08:00:00+08:00"), Some(951_782_400_000));
        assert_eq!(from_rfc3339("1960-01-01T00:00:00Z"), Some(0));
        for nonsense in ["", "now", "2000-02-30T00:00:00Z", "2000-02-29"] {
            assert_eq!(from_rfc3339(nonsense), None, "{nonsense}");
        }
    }
}
