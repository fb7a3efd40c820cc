//! libFuzzer's door to [`tmq_fuzz::drain`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::start(tmq_fuzz::drain::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::drain::run(data);
    }
);
