//! libFuzzer's entry for [`heteronym_fuzz::pair`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::pair::run(data));
