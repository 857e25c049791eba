//! libFuzzer's entry for [`heteronym_fuzz::header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::header::run(data));
