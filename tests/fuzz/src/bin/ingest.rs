//! libFuzzer's door to [`tmq_fuzz::ingest`].
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        tmq_fuzz::start(tmq_fuzz::ingest::seeds);
    },
    |data: &[u8]| {
        tmq_fuzz::ingest::run(data);
    }
);
