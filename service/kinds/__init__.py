"""The typed Flux kinds, one module for each API group, with their codec and the CustomResourceDefinitions made from them."""
