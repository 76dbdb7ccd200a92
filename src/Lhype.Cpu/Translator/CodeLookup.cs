// From a linear address to host code: the code TLB, the fetch walk, the translator, and the linking of direct
// jumps.

using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class TranslatorVcpu
{
    /// <summary>Host code for the guest code at <paramref name="linear"/>, translating it if need be. Null:
    /// the fetch faults, and the fault is recorded.</summary>
    private byte* Find(ulong linear, uint mode)
    {
        CodeTlbEntry* entry = CpuState.CodeTlb(_state) + CpuState.CodeSlot(linear, mode);
        int offset = entry->Tag == ((linear & ~4095UL) | mode) ? ((int*)entry->Table)[linear & 4095] : 0;
        if (offset == 0)
        {
            offset = FindSlowly(linear, mode);
            if (offset == 0)
            {
                return null;
            }
        }

        _state->CodePageBase = linear & ~4095UL;
        return _code.Executable + offset;
    }

    /// <summary>As <see cref="Find"/>, for an indirect jump in emitted code: the next one will find its
    /// way.</summary>
    private byte* FindForJump(uint mode)
    {
        ulong linear = LinearRip;
        byte* code = Find(linear, mode);
        if (code != null)
        {
            ref Block block = ref _cache.BlockAt(_cache.FindByHost((int)(code - _code.Executable)));
            _jumps.Fill(mode, linear, (ulong)(_code.Executable + block.Start));
        }

        return code;
    }

    /// <summary>As <see cref="Find"/> outside flat mode, where every fetch is checked against the limit of
    /// CS: a block that would run past it is entered one instruction at a time.</summary>
    private byte* FindWithinLimit(ulong linear, ref uint mode)
    {
        uint limit = _state->Segment(SegmentRegister.Cs).Limit;
        if (_state->Rip > limit)
        {
            _ = Fault.Raise(_state, Vector.GeneralProtection);
            return null;
        }

        byte* code = Find(linear, mode);
        if (code == null || FitsLimit(code, limit))
        {
            return code;
        }

        mode |= ModeKey.SingleStep;
        code = Find(linear, mode);
        if (code == null || FitsLimit(code, limit))
        {
            return code;
        }

        _ = Fault.Raise(_state, Vector.GeneralProtection);
        return null;
    }

    private bool FitsLimit(byte* code, uint limit)
    {
        int block = _cache.FindByHost((int)(code - _code.Executable));
        return _state->Rip + (ulong)_cache.BlockAt(block).GuestLength - 1 <= limit;
    }

    /// <summary>Fetch walk, and translation if there is no block yet. Returns a code offset, or 0 on a
    /// fault.</summary>
    private int FindSlowly(ulong linear, uint mode)
    {
        if (!_translator.HasRoom || !_cache.HasRoom || _jumps.Exhausted)
        {
            FlushTranslations();
        }

        CodePage? page = EnterCodePage(linear, mode);
        if (page == null)
        {
            return 0;
        }

        int inPage = (int)(linear & 4095);
        if (page.Table[inPage] == 0)
        {
            ulong start = _native.ReadTsc();
            int activity = _state->Activity;
            _state->Activity = (int)Activity.Translation;
            int block = _translator.Translate(page, inPage, ulong.MaxValue);
            if (block < 0)
            {
                CodePage? second = EnterCodePage(_memory.Wrap((linear & ~4095UL) + 4096), mode);
                if (second == null)
                {
                    return 0;
                }

                _ = _translator.Translate(page, inPage, second.Gpa);
            }

            _state->Activity = activity;
            _statistics.BlocksTranslated++;
            _translationTicks += _native.ReadTsc() - start;
        }

        return page.Table[inPage];
    }

    /// <summary>Translates a linear page for fetching and enters it into the code TLB. Null: fault
    /// recorded.</summary>
    private CodePage? EnterCodePage(ulong linear, uint mode)
    {
        if (!Processor.IsCanonical(linear))
        {
            _ = Fault.Raise(_state, Vector.GeneralProtection);
            return null;
        }

        if (!_memory.TryResolveCode(linear, (mode & ModeKey.User) != 0, out PageTranslation translation))
        {
            return null;
        }

        if (!_ram.IsRamPage(translation.PageGpa))
        {
            // Nothing but RAM holds code here; the bus floats high, and FF FF is no instruction.
            _ = _bus.ReadMmio(translation.PageGpa | (linear & 4095), 1);
            _ = Fault.Raise(_state, Vector.InvalidOpcode);
            return null;
        }

        CodePage page = _cache.PageFor(translation.PageGpa, mode);
        ulong linearPage = linear & ~4095UL;
        _memory.FillCode(linearPage, mode, translation.Global, translation.Large, (ulong)page.Table,
            _cache.StampFor(page, linearPage));
        if (translation.Huge)
        {
            _memory.NoteHuge(linearPage);
        }

        return page;
    }

    /// <summary>Finds the target of direct jump <paramref name="linkIndex"/> and makes the jump lead
    /// there.</summary>
    private byte* LinkAndFind(int linkIndex, uint mode)
    {
        ulong fromLinear = _state->CodePageBase;
        int generation = _generation;
        mode |= _cache.LinkAt(linkIndex).Ungrouped ? ModeKey.Ungrouped : 0;
        byte* code = Find(LinearRip, mode);
        if (code == null || generation != _generation)
        {
            return code;
        }

        int target = (int)(code - _code.Executable);
        int block = _cache.FindByHost(target);
        ref Link link = ref _cache.LinkAt(linkIndex);
        if (link.Linked || !_translator.HasRoom)
        {
            return code;
        }

        if (link.TargetOffset is >= 0 and < 4096)
        {
            _emitter.Patch(link.Patch, link.Forward ? _cache.BlockAt(block).ForwardEntry : target);
        }
        else
        {
            ulong toLinear = _state->CodePageBase;
            uint stamp = CpuState.CodeTlb(_state)[CpuState.CodeSlot(toLinear, mode)].Stamp;
            int guard =
                _translator.EmitPageGuard(mode, fromLinear, toLinear, link.TargetOffset, stamp, target,
                _cache.BlockAt(block).FlagsLiveIn);
            _emitter.Patch(link.Patch, guard);
        }

        _cache.AddIncoming(block, linkIndex);
        return code;
    }

    /// <summary>The second page of a page-crossing instruction changed: brings its mapping into the code TLB,
    /// and translates again if it is another page now. False: fetching it faults.</summary>
    private bool ResolveCrossPage(uint mode)
    {
        ulong linear = LinearRip;
        CodePage? page = EnterCodePage(linear, mode);
        CodePage? second = page == null ? null : EnterCodePage(_memory.Wrap((linear & ~4095UL) + 4096), mode);
        if (page == null || second == null)
        {
            return false;
        }

        int offset = page.Table[linear & 4095];
        int index = offset == 0 ? -1 : _cache.FindByHost(offset);
        if (index >= 0 && _cache.BlockAt(index).SecondGpa != second.Gpa)
        {
            _cache.Drop(index);
        }

        return true;
    }

    private void FlushTranslations()
    {
        _statistics.CacheFlushes++;
        _generation++;
        _memory.ForgetReturns();
        _cache.Clear();
        _jumps.Clear();
        _translator.Clear();
    }
}
