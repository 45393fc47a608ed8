# Writes the words of the SPIR-V file MODULE as C++ numbers into ARRAY.
file(READ ${MODULE} hex HEX)
string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1," words "${hex}")
string(REGEX REPLACE "((0x........,)(0x........,)?(0x........,)?(0x........,)?(0x........,)?(0x........,)?(0x........,)?)"
       "\\1\n" lines "${words}")
file(WRITE ${ARRAY} "${lines}")
