"""What several proxies know in common, in Redis or Valkey; only with `[shared]` is anything of this imported.

    client.py     the library's client: how it is made, and what it raises, in our own words
    store.py      runs scripts: a deadline for each, no second try, a breaker, a probe beside the traffic
    breaker.py    whether the store is asked at all (pure)
    scripts.py    a script in Lua, and how it is known to Redis
    sealing.py    what is stored can be read and moved by nobody else
    trial.py      whether a store can be used, for who sets it up

What is stored is decided elsewhere: `tokens/shared_leases.py`, `guards/booking.py`,
`guards/batch_leases.py`.
"""
