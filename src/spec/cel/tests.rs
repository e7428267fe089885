use std::collections::BTreeMap;

use super::*;

fn device() -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let map = |pairs: Vec<(&str, Value)>| Value::Map(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
    map(vec![
        ("driver", text("gpu.nvidia.com")),
        (
            "attributes",
            map(vec![(
                "gpu.nvidia.com",
                map(vec![
                    ("productName", text("NVIDIA A100-SXM4-80GB")),
                    ("type", text("gpu")),
                    ("uuid", Value::Unknown),
                    ("driverVersion", Value::Version([580, 95, 5])),
                ]),
            )]),
        ),
        (
            "capacity",
            map(vec![("gpu.nvidia.com", map(vec![("memory", Value::Quantity(80 * (1_i128 << 30) * 1_000_000_000))]))]),
        ),
    ])
}

fn truth(text: &str) -> Option<bool> {
    let scope = BTreeMap::from([("device".to_owned(), device())]);
    match parse(text).map(|expression| evaluate(&expression, &scope)) {
        Some(Value::Bool(truth)) => Some(truth),
        _ => None,
    }
}

#[test]
fn selectors_of_drivers_and_users_are_understood() {
    for (text, expected) in [
        ("device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'gpu'", true),
        (r#"device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("40Gi")) >= 0"#, true),
        (r#"device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("81Gi")) >= 0"#, false),
        (r#"device.capacity["gpu.nvidia.com"].memory.isGreaterThan(quantity("40000M"))"#, true),
        (r#"device.attributes["gpu.nvidia.com"].productName.lowerAscii().matches("^.*a100.*$")"#, true),
        (r#"device.attributes["gpu.nvidia.com"].productName.matches("(H100|A100)")"#, true),
        (r#"device.attributes["gpu.nvidia.com"].productName.matches("^H100")"#, false),
        (r#"device.attributes["gpu.nvidia.com"].driverVersion.isGreaterThan(semver("570.0.0"))"#, true),
        (r#"semver("580.95.5").compareTo(device.attributes["gpu.nvidia.com"].driverVersion) == 0"#, true),
        (r#""gpu.nvidia.com" in device.attributes"#, true),
        (r#"device.attributes["gpu.nvidia.com"].productName in ["x", "NVIDIA A100-SXM4-80GB"]"#, true),
        (r#"has(device.attributes["gpu.nvidia.com"].profile)"#, false),
        (r#"device.attributes["gpu.nvidia.com"].?profile.orValue("none") == "none""#, true),
        ("cel.bind(a, device.attributes['gpu.nvidia.com'], a.type == 'gpu' && a.productName.contains('A100'))", true),
        ("!(1 + 2 * 3 != 7) ? 'a' < 'b' : false", true),
        ("'80GB'.size() == 4 && -1 < 0 // that is all", true),
    ] {
        assert_eq!(truth(text), Some(expected), "{text}");
    }
}

#[test]
fn what_is_not_known_is_neither_true_nor_false() {
    let unknown = "device.attributes['gpu.nvidia.com'].uuid == 'GPU-1'";
    assert_eq!(truth(unknown), None);
    assert_eq!(truth(&format!("{unknown} && false")), Some(false));
    assert_eq!(truth(&format!("{unknown} || device.driver == 'gpu.nvidia.com'")), Some(true));
    assert_eq!(truth(&format!("{unknown} && true")), None);
    for odd in [
        "device.attributes['other.example.com'].x == 1",
        "device.nothing",
        "x",
        "1 / 0 == 1",
        "'a' == 1",
        "device.driver.matches('[a-z]+')",
        "[1,2].all(x, x > 0)",
        "f(1)",
        "1.5 > 1.0",
        "device.driver ==",
        "",
        "'unclosed",
        "\u{1}",
        "(((",
    ] {
        assert_eq!(truth(odd), None, "{odd}");
    }
}

#[test]
fn hostile_text_ends() {
    for text in [
        "(".repeat(5000),
        "!".repeat(5000),
        "-".repeat(5000),
        "a.".repeat(4000),
        "[".repeat(9000),
        "a".repeat(1 << 20),
        "1+".repeat(4000) + "1",
    ] {
        let _ = truth(&text);
    }
    assert!(parse(&format!("{}true{}", "(".repeat(20), ")".repeat(20))).is_some());
}
