//! libFuzzer's door to [`tmq_fuzz::symbols`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::let_panics_be_caught(); tmq_fuzz::start(tmq_fuzz::symbols::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::symbols::run(data);
    }
);
