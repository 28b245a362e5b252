"""The words of the bridge: values and tables that every step shares; standard library only, no I/O."""
