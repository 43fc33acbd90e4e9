//! Bytes from outside, whatever they are: everything that reads them answers, and means what it says. The seeds in `corpus/` are broken in
//! a few places, a fixed number of times; what once failed stays in them.

mod world;

use proptest::prelude::*;
use proptest::sample::Index;
use ray::duration::GoDuration;
use ray::image::Image;
use ray::path::Pointer;
use ray::quantity::Quantity;
use ray::start_params::StartParams;
use ray::version::RayVersion;
use rayward_webhook::admit::Endpoint;
use rayward_webhook::review::Review;
use rayward_webhook::source::{Place, Source};
use rules::Facts;
use serde_json::{Value, json};

const MANIFESTS: [&str; 4] = [
    include_str!("demo.yaml"),
    include_str!("../rules/tests/corpus/cluster.yaml"),
    include_str!("../rules/tests/corpus/service.yaml"),
    include_str!("corpus/scalars.yaml"),
];

/// A seed, broken in up to five places.
fn broken(seeds: &[&'static str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    #[derive(Clone, Debug)]
    enum Break {
        Drop(u8),
        Insert(Vec<u8>),
        Flip(u8),
        Repeat(u8),
    }
    let one = prop_oneof![
        any::<u8>().prop_map(Break::Drop),
        prop::collection::vec(any::<u8>(), 1..4).prop_map(Break::Insert),
        "[-+0-9eE.,:{}\"\\[\\] ]{1,3}".prop_map(|text| Break::Insert(text.into_bytes())),
        any::<u8>().prop_map(Break::Flip),
        any::<u8>().prop_map(Break::Repeat),
    ];
    let breaks = prop::collection::vec((any::<Index>(), one), 0..6);
    (prop::sample::select(seeds.to_vec()), breaks).prop_map(|(seed, breaks)| {
        let mut bytes = seed.as_bytes().to_vec();
        for (place, one) in breaks {
            let at = place.index(bytes.len() + 1);
            let upto = |length: u8| at..(at + usize::from(length)).min(bytes.len());
            match one {
                Break::Drop(length) => drop(bytes.drain(upto(length))),
                Break::Insert(more) => drop(bytes.splice(at..at, more)),
                Break::Flip(mask) => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= mask),
                Break::Repeat(length) => {
                    let part = bytes[upto(length)].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    })
}

/// The same, as text.
fn broken_text(seeds: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    broken(seeds).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The same for a corpus with a seed on each line.
fn broken_line(corpus: &'static str) -> impl Strategy<Value = String> {
    broken_text(&corpus.lines().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn quantities(text in broken_line(include_str!("corpus/quantities"))) {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().expect("as we write it"), quantity, "{}", text);
            let millis = quantity.ceil_millis();
            let ceil = millis.div_euclid(1000) + i128::from(millis.rem_euclid(1000) > 0);
            prop_assert_eq!(i128::from(quantity.ceil()), ceil.clamp(i64::MIN.into(), i64::MAX.into()), "{}", text);
        }
    }

    #[test]
    fn durations(text in broken_line(include_str!("corpus/durations"))) {
        if let Ok(duration) = text.parse::<GoDuration>() {
            prop_assert_eq!(duration.to_string().parse::<GoDuration>().expect("as we write it"), duration, "{}", text);
        }
    }

    #[test]
    fn images_and_versions(text in broken_line(include_str!("corpus/images"))) {
        let image = Image::parse(&text);
        prop_assert_eq!(Image::parse(&image.to_string()), image.clone(), "{}", text);
        prop_assert!(image.is_from_ray_project() || image.repository != "rayproject/ray", "{}", text);
        prop_assert!(image.tagged_version().is_some() || image.ray_version().is_none(), "{}", text);
        if let Ok(version) = text.parse::<RayVersion>() {
            prop_assert_eq!(version.to_string().parse::<RayVersion>().expect("as we write it"), version, "{}", text);
        }
    }

    #[test]
    fn start_params(text in broken_line(include_str!("corpus/start-params"))) {
        for name in ["num-cpus", "num-gpus", "memory", "object-store-memory", "resources", "port", "labels"] {
            let params = StartParams::parse(Pointer::root(), [(name.to_owned(), text.clone())].into());
            for problem in &params.problems {
                prop_assert_eq!(&problem.path, &Pointer::root().key(name));
            }
        }
    }
}

/// Every place in a value, the outermost first.
fn places(value: &Value, here: &Pointer, all: &mut Vec<Pointer>) {
    all.push(here.clone());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &here.index(index), all);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                places(field, &here.key(key.clone()), all);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn manifests(text in broken_text(&MANIFESTS)) {
        let source = Source::new("broken.yaml", Ok(text));
        let is_there = |place: Place| {
            place.line > 0 && place.column > 0 && place.column <= source.line(place.line).chars().count() + 1
        };
        match source.documents() {
            Ok(documents) => for document in documents {
                let mut all = Vec::new();
                places(&document.value(), &Pointer::root(), &mut all);
                for pointer in all {
                    let place = document.place(&pointer);
                    prop_assert!(is_there(place), "{} is at {:?}", pointer, place);
                }
            },
            Err(unreadable) => {
                prop_assert!(!unreadable.message.is_empty());
                prop_assert!(unreadable.place.is_none_or(is_there), "{}", unreadable);
            }
        }
    }

    #[test]
    fn reviews(body in broken(&[include_str!("corpus/review.json"), include_str!("corpus/pod-review.json")])) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let admission = runtime.block_on(async { world::admission(Facts::default()) });
        for endpoint in Endpoint::ALL {
            match runtime.block_on(admission.admit(endpoint, &body)) {
                Ok((answer, _)) => {
                    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
                    let review = Review::decode(&body).expect("it was answered");
                    prop_assert_eq!(&answer["response"]["uid"], &json!(review.uid));
                    prop_assert!(answer["response"]["allowed"].is_boolean());
                }
                Err(fault) => prop_assert!(fault.to_string().len() < 1000, "{}", fault),
            }
        }
    }
}
