"""The same small site in each framework, and the checks that all of them pass behind the middleware."""
