"""The grammar that the built-in English-German corpus is made with."""
