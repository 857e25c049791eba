//! libFuzzer's entry for [`heteronym_fuzz::control`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::control::run(data));
