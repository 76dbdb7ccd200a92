# FCMOVcc in all eight forms.
# vary: st flags

    fcmovb st, st(1)
    fcmove st, st(2)
    fcmovbe st, st(3)
    fcmovu st, st(1)
    fcmovnb st, st(2)
    fcmovne st, st(3)
    fcmovnbe st, st(1)
    fcmovnu st, st(2)
