"""What sync sends and catalog takes. Both use it, and neither imports the other.

`imports.product` has the fields of a product with their limits and rules, which also hold for clients of the API;
`imports.messages` has the bodies of the import routes, and `imports.counts` the numbers of a run.
"""
