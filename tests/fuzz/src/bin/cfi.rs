//! libFuzzer's door to [`tmq_fuzz::cfi`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::start(tmq_fuzz::cfi::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::cfi::run(data);
    }
);
