//! libFuzzer's door to [`tmq_fuzz::open`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::let_panics_be_caught(); tmq_fuzz::start(tmq_fuzz::open::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::open::run(data);
    }
);
