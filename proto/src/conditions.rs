//! One list per family of defined conditions, so that none can be written that is not also read.

/// Declares an enum of error conditions from one table of variants and element names.
macro_rules! conditions {
    ($(#[$doc:meta])* pub enum $family:ident { $($(#[$about:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $family {
            $($(#[$about])* $variant,)+
        }

        impl $family {
            /// Every condition, in the order of the RFC.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name of the condition's element.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The condition whose element is called `name`.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $family {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use conditions;
