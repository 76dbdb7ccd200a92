# An x87 load from an unmapped page leaves the stack alone.
# expect: vector=14

    fld1
    fld qword ptr [DATA-8]
