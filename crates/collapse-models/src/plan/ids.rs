//! Numbers of layers and tensors, each of its own type.

use std::ops::{Index, IndexMut};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub(crate) usize);

        impl $name {
            /// Its place in that order, from 0.
            #[must_use]
            pub fn index(self) -> usize {
                self.0
            }
        }

        impl<T> Index<$name> for [T] {
            type Output = T;

            fn index(&self, id: $name) -> &T {
                &self[id.0]
            }
        }

        impl<T> Index<$name> for Vec<T> {
            type Output = T;

            fn index(&self, id: $name) -> &T {
                &self[id.0]
            }
        }

        impl<T> IndexMut<$name> for Vec<T> {
            fn index_mut(&mut self, id: $name) -> &mut T {
                &mut self[id.0]
            }
        }
    };
}

id! {
    /// A convolution: its place in [`Plan::convs`](crate::Plan::convs).
    ConvId
}
id! {
    /// A batch norm: its place in [`Plan::norms`](crate::Plan::norms).
    NormId
}
id! {
    /// A tensor: its place in [`Plan::tensors`](crate::Plan::tensors), which is that in a `state_dict`.
    TensorId
}
