//! libFuzzer's door to [`tmq_fuzz::repair`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::start(tmq_fuzz::repair::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::repair::run(data);
    }
);
