//! Sizes for people, to the letter as tracemalloc's `_format_size` writes them.

/// `10.0 KiB`, `512 B`; with `signed` a plus sign in front of what is not negative.
pub(crate) fn format_size(bytes: f64, signed: bool) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    for unit in UNITS {
        if size.abs() < 100.0 && unit != "B" {
            return if signed { format!("{size:+.1} {unit}") } else { format!("{size:.1} {unit}") };
        }
        if size.abs() < 10.0 * 1024.0 || unit == "TiB" {
            return if signed { format!("{size:+.0} {unit}") } else { format!("{size:.0} {unit}") };
        }
        size /= 1024.0;
    }
    unreachable!("the last unit always returns")
}

#[cfg(test)]
mod tests {
    use super::format_size;

    #[test]
    fn like_tracemalloc() {
        for (bytes, text, signed) in [
            (0.0, "0 B", "+0 B"),
            (-1.0, "-1 B", "-1 B"),
            (10239.0, "10239 B", "+10239 B"),
            (10240.0, "10.0 KiB", "+10.0 KiB"),
            (-5000.0, "-5000 B", "-5000 B"),
            (102_399.0, "100.0 KiB", "+100.0 KiB"),
            (102_400.0, "100 KiB", "+100 KiB"),
            (1_048_576.0, "1024 KiB", "+1024 KiB"),
            (1_099_511_627_776.0, "1024 GiB", "+1024 GiB"),
            (1_125_899_906_842_624.0, "1024 TiB", "+1024 TiB"),
            (2.5, "2 B", "+2 B"),
        ] {
            assert_eq!(format_size(bytes, false), text);
            assert_eq!(format_size(bytes, true), signed);
        }
    }
}
