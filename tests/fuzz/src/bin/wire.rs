//! libFuzzer's door to [`tmq_fuzz::wire`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::start(tmq_fuzz::wire::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::wire::run(data);
    }
);
