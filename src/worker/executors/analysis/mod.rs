//! stub
/// x
#[derive(Debug)]
pub struct Analysis;
impl super::Executor for Analysis {
    fn name(&self) -> &'static str {
        "analysis"
    }
    fn execute(&self, _a: &super::Assignment) -> anyhow::Result<String> {
        Ok("x".into())
    }
}
