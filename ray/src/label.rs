//! Which words Kubernetes takes for labels and for names of objects (Kubernetes `apimachinery/pkg/util/validation`).

const NAME_CHARS_MAX: usize = 63;
const SUBDOMAIN_CHARS_MAX: usize = 253;

/// Whether a label can have this value. It may be empty.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

/// Whether a label can have this key: a name, which may stand behind a domain as in `example.com/name`.
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_dns_subdomain(domain) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// Whether most objects can have this name: lower-case words of letters, digits and inner hyphens, with dots between them.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_CHARS_MAX && text.split('.').all(is_dns_word)
}

/// Whether an object whose name is to be a single word of a host name can have this one.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= NAME_CHARS_MAX && is_dns_word(text)
}

fn is_label_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inner)
}

fn is_dns_word(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::{is_dns_label, is_dns_subdomain, is_label_value, is_qualified_name};

    #[test]
    fn as_kubernetes_reads_them() {
        let long = "a".repeat(64);
        let check = |text: &str| {
            [
                is_label_value(text),
                is_qualified_name(text),
                is_dns_subdomain(text),
                is_dns_label(text),
            ]
        };
        for (text, expected) in [
            ("", [true, false, false, false]),
            ("gpu-1", [true, true, true, true]),
            ("1", [true, true, true, true]),
            ("big.gpus", [true, true, true, false]),
            ("Big_gpus", [true, true, false, false]),
            ("-gpus", [false, false, false, false]),
            ("gpus.", [false, false, false, false]),
            ("a.-b", [true, true, false, false]),
            ("ray.io/Group_1", [false, true, false, false]),
            ("ray.io/", [false, false, false, false]),
            ("/group", [false, false, false, false]),
            ("Ray.io/group", [false, false, false, false]),
            ("ray.io/a/b", [false, false, false, false]),
            ("gpüs", [false, false, false, false]),
            (&long, [false, false, true, false]),
            (&long[1..], [true, true, true, true]),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
    }
}
