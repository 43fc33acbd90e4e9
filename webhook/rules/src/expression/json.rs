//! JSON as CEL sees it, without a copy: what an expression does not ask for is never looked at, and a field costs as much in a large
//! object as in a small one. Objects keep the order of their fields. Whole numbers are of the type `int`, as they are in Kubernetes.

use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{self, Adder, Container, Indexer, Iterable, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::{BuiltinRef, CowVal, Val};
use serde_json::{Map, Value};

pub(super) fn value<'v>(json: &'v Value) -> Box<dyn Val + 'v> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Box::new(CelInt::from(whole)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(json) => Box::new(Items {
            json,
            list: OnceLock::new(),
        }),
        Value::Object(json) => Box::new(Fields {
            json,
            keys: OnceLock::new(),
            map: OnceLock::new(),
        }),
    }
}

#[derive(Debug)]
struct Items<'v> {
    json: &'v [Value],
    /// The same for CEL, one level deep, once it has to go through all of it.
    list: OnceLock<CelList<'v>>,
}

impl<'v> Items<'v> {
    fn list(&self) -> &CelList<'v> {
        self.list
            .get_or_init(|| CelList::from(self.json.iter().map(value).collect::<Vec<_>>()))
    }

    fn item(&self, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        let whole = index.downcast_ref::<CelInt>().map(|index| *index.inner());
        let index = whole.ok_or_else(|| ExecutionError::UnexpectedType {
            got: index.get_type().name().to_owned(),
            want: "int".to_owned(),
        })?;
        let item = usize::try_from(index).ok().and_then(|index| self.json.get(index));
        item.map(value)
            .ok_or(ExecutionError::IndexOutOfBounds(index.into()))
    }
}

impl Val for Items<'_> {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }

    fn as_adder<'b, 'w>(&'b self) -> Option<&'b (dyn Adder + 'w)>
    where
        Self: 'w,
    {
        Some(self.list())
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self.list())
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self.list())
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.list().equals(other)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(Items {
            json: self.json,
            list: OnceLock::new(),
        })
    }

    fn as_builtin<'b, 'w>(&'b self) -> BuiltinRef<'b, 'w>
    where
        Self: 'w,
    {
        BuiltinRef::List(self.list())
    }
}

impl Indexer for Items<'_> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.item(index).map(CowVal::Owned)
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.item(index).map(|item| item as _)
    }
}

impl Sizer for Items<'_> {
    fn size(&self) -> CelInt {
        size(self.json.len())
    }
}

#[derive(Debug)]
struct Fields<'v> {
    json: &'v Map<String, Value>,
    keys: OnceLock<Vec<CelString<'v>>>,
    /// The same for CEL, one level deep, once it compares all of it.
    map: OnceLock<CelMap<'v>>,
}

impl<'v> Fields<'v> {
    fn map(&self) -> &CelMap<'v> {
        self.map.get_or_init(|| {
            let mut map = CelMap::default().into_inner();
            let key = |name: &'v String| CelMapKey::String(CelString::from(name.as_str()));
            map.extend(self.json.iter().map(|(name, json)| (key(name), value(json))));
            map.into()
        })
    }

    fn field(&self, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        let name = key
            .downcast_ref::<CelString<'_>>()
            .ok_or_else(|| ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            })?;
        let field = self.json.get(name.inner());
        field
            .map(value)
            .ok_or_else(|| ExecutionError::no_such_key(name.inner()))
    }
}

impl Val for Fields<'_> {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.map().equals(other)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(Fields {
            json: self.json,
            keys: OnceLock::new(),
            map: OnceLock::new(),
        })
    }

    fn as_builtin<'b, 'w>(&'b self) -> BuiltinRef<'b, 'w>
    where
        Self: 'w,
    {
        BuiltinRef::Map(self.map())
    }
}

impl Container for Fields<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        let name = key.downcast_ref::<CelString<'_>>();
        Ok(name.is_some_and(|name| self.json.contains_key(name.inner())))
    }
}

impl Indexer for Fields<'_> {
    fn get<'b, 'w>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.field(key).map(CowVal::Owned)
    }

    fn steal<'w>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.field(key).map(|field| field as _)
    }
}

impl Iterable for Fields<'_> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn traits::Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        let keys = self.keys.get_or_init(|| {
            self.json
                .keys()
                .map(|key| CelString::from(key.as_str()))
                .collect()
        });
        Box::new(Keys(keys.iter()))
    }
}

impl Sizer for Fields<'_> {
    fn size(&self) -> CelInt {
        size(self.json.len())
    }
}

struct Keys<'b, 'v>(std::slice::Iter<'b, CelString<'v>>);

impl<'b, 'w, 'v: 'w> traits::Iterator<'b, 'w> for Keys<'b, 'v> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        self.0.next().map(|key| key as _)
    }
}

fn size(count: usize) -> CelInt {
    i64::try_from(count)
        .expect("so many do not fit into memory")
        .into()
}
