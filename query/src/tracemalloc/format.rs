//! Sizes as text.

/// Bytes with a unit, as `tracemalloc._format_size` writes them; with `sign`, a plus before what is not negative.
///
/// ```
/// use tmq_query::tracemalloc::format_size;
///
/// assert_eq!(format_size(10239.0, false), "10239 B");
/// assert_eq!(format_size(10240.0, false), "10.0 KiB");
/// assert_eq!(format_size(102400.0, true), "+100 KiB");
/// ```
#[must_use]
pub fn format_size(bytes: f64, sign: bool) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    for unit in UNITS {
        if size.abs() < 100.0 && unit != "B" {
            return if sign { format!("{size:+.1} {unit}") } else { format!("{size:.1} {unit}") };
        }
        if size.abs() < 10.0 * 1024.0 || unit == "TiB" {
            return if sign { format!("{size:+.0} {unit}") } else { format!("{size:.0} {unit}") };
        }
        size /= 1024.0;
    }
    // TiB returned above.
    String::new()
}

#[cfg(test)]
mod tests {
    use super::format_size;

    #[test]
    fn equals_cpython() {
        for (bytes, plain, signed) in [
            (0.0, "0 B", "+0 B"),
            (1.0, "1 B", "+1 B"),
            (-1.0, "-1 B", "-1 B"),
            (100.0, "100 B", "+100 B"),
            (1023.0, "1023 B", "+1023 B"),
            (1024.0, "1024 B", "+1024 B"),
            (10239.0, "10239 B", "+10239 B"),
            (10240.0, "10.0 KiB", "+10.0 KiB"),
            (10241.0, "10.0 KiB", "+10.0 KiB"),
            (-10240.0, "-10.0 KiB", "-10.0 KiB"),
            (-5000.0, "-5000 B", "-5000 B"),
            (102_348.0, "99.9 KiB", "+99.9 KiB"),
            (102_349.0, "100.0 KiB", "+100.0 KiB"),
            (102_399.0, "100.0 KiB", "+100.0 KiB"),
            (102_400.0, "100 KiB", "+100 KiB"),
            (10239.5, "10240 B", "+10240 B"),
            (104_857_599.0, "100.0 MiB", "+100.0 MiB"),
            (104_857_600.0, "100 MiB", "+100 MiB"),
            (1_048_576.0, "1024 KiB", "+1024 KiB"),
            (10_485_759.0, "10240 KiB", "+10240 KiB"),
            (10_485_760.0, "10.0 MiB", "+10.0 MiB"),
            (1_073_741_824.0, "1024 MiB", "+1024 MiB"),
            (10_737_418_240.0, "10.0 GiB", "+10.0 GiB"),
            (107_374_182_400.0, "100 GiB", "+100 GiB"),
            (1_099_511_627_776.0, "1024 GiB", "+1024 GiB"),
            (10_995_116_277_760.0, "10.0 TiB", "+10.0 TiB"),
            (109_951_162_777_600.0, "100 TiB", "+100 TiB"),
            (1_125_899_906_842_624.0, "1024 TiB", "+1024 TiB"),
            (9_223_372_036_854_775_807.0, "8388608 TiB", "+8388608 TiB"),
            (0.5, "0 B", "+0 B"),
            (1.5, "2 B", "+2 B"),
            (2.5, "2 B", "+2 B"),
            (3.5, "4 B", "+4 B"),
            (126.4, "126 B", "+126 B"),
        ] {
            assert_eq!(format_size(bytes, false), plain, "{bytes}");
            assert_eq!(format_size(bytes, true), signed, "{bytes}");
        }
    }
}
