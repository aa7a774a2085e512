# cmake -DIN=FILE -DOUT=FILE -P embed.cmake: the bytes of a file, each with a comma, for the inside of a C array.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "${bytes}\n")
