// Gives the precompiled header a source to be built with: test_main.cpp must not use it.
