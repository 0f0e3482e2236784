//! Findings as text or JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Format;
use super::finding::{Finding, Level};

/// Writes to standard output; who reads it may have seen enough.
pub(super) fn write(findings: &[Finding], format: Format) {
    let text = match format {
        Format::Text => text(findings),
        Format::Json => format!("{:#}\n", object(findings)),
    };
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let Finding {
            check,
            found,
            advice,
            ..
        } = finding;
        lines.push(format!("{:8} {check}: {found}", finding.level.name()));
        if !advice.is_empty() {
            lines.push(format!("{:8} -> {advice}", ""));
        }
    }
    let (warnings, errors) = counts(findings);
    lines.push(match (warnings, errors) {
        (0, 0) => "healthy".to_owned(),
        _ => format!("{errors} errors, {warnings} warnings"),
    });
    lines.join("\n") + "\n"
}

fn object(findings: &[Finding]) -> Value {
    let (warnings, errors) = counts(findings);
    let findings: Vec<Value> = findings
        .iter()
        .map(|it| {
            json!({
                "check": it.check,
                "level": it.level.name(),
                "found": it.found,
                "advice": it.advice,
            })
        })
        .collect();
    json!({
        "healthy": warnings == 0 && errors == 0,
        "errors": errors,
        "warnings": warnings,
        "findings": findings,
    })
}

/// Warnings and errors.
fn counts(findings: &[Finding]) -> (usize, usize) {
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    (count(Level::Warning), count(Level::Error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let findings = [
            Finding::ok("kernel", "Linux 6.12"),
            Finding::new("tools", Level::Warning, "no mkfs.xfs", "install xfsprogs"),
        ];
        assert_eq!(
            text(&findings),
            "ok       kernel: Linux 6.12\n\
             warning  tools: no mkfs.xfs\n         -> install xfsprogs\n\
             0 errors, 1 warnings\n"
        );
        let object = object(&findings);
        assert_eq!(object["healthy"], false);
        assert_eq!(
            (&object["errors"], &object["warnings"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(object["findings"][1]["advice"], "install xfsprogs");
        assert!(text(&findings[..1]).ends_with("\nhealthy\n"));
    }
}
