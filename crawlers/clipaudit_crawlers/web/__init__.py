"""What `clipaudit_crawlers.fetch` is made of: one request, checked, bounded and without keys.

A question goes through `answers` (JSON) or `pictures`, waits its turn (`hosts`, `patience`), and
becomes a chain of requests (`client`), each to an address that was checked (`addresses`), over a
socket with one deadline (`wire`). Errors come back in our words (`mishaps`, `failures`), and keys
nowhere but on the wire (`redaction`). `opt_outs` and `robots` say which pictures are left alone.
"""
