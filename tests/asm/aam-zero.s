# AAM with an immediate of zero raises #DE.
# init: eax=0x1234
# expect: vector=0 eip=CODE eax=0x1234

    aam 0
