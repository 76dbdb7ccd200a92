// System registers (SDM vol. 3, chapter 2): control registers with their reserved bits and their effects on
// the TLBs, descriptor-table registers, and the instructions that inspect descriptors (LAR, LSL, VERR, VERW,
// ARPL).

using Iced.Intel;
using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const ulong Cr0Defined = ControlBits.Cr0Protection | ControlBits.Cr0MonitorCoprocessor
        | ControlBits.Cr0Emulation | ControlBits.Cr0TaskSwitched | ControlBits.Cr0ExtensionType
        | ControlBits.Cr0NumericError | ControlBits.Cr0WriteProtect | ControlBits.Cr0AlignmentMask
        | ControlBits.Cr0NotWriteThrough | ControlBits.Cr0CacheDisable | ControlBits.Cr0Paging;

    /// <summary>CR4 bits whose change invalidates every translation (SDM vol. 3, 4.10.4.1).</summary>
    private const ulong Cr4Translation = ControlBits.Cr4Pse | ControlBits.Cr4Pae | ControlBits.Cr4Pge
        | ControlBits.Cr4Smep | ControlBits.Cr4Smap | ControlBits.Cr4Pcide;

    /// <summary>CR4 bits whose change reloads the PDPTEs in PAE mode.</summary>
    private const ulong Cr4Pdptes = ControlBits.Cr4Pse | ControlBits.Cr4Pae | ControlBits.Cr4Pge
        | ControlBits.Cr4Smep;

    /// <summary>MOV to and from a control register.</summary>
    private bool ExecuteMoveControl(Register general, Register control, bool write)
    {
        int index = control - Register.CR0;
        if (index is not (0 or 2 or 3 or 4 or 8) || (index == 4 && !_model.HasCr4)
            || (index == 8 && !IsLongCode))
        {
            return RaiseUndefined();
        }

        if (!RequireRing0())
        {
            return false;
        }

        if (!write)
        {
            ulong current = index switch
            {
                0 => _state->Cr0,
                2 => _state->Cr2,
                3 => _state->Cr3,
                4 => _state->Cr4,
                _ => ReadTaskPriority(),
            };
            WriteRegister(general, current);
            return true;
        }

        ulong value = ReadRegister(general);
        switch (index)
        {
            case 0:
                return value <= uint.MaxValue ? TrySetCr0(value) : RaiseProtection();
            case 2:
                _state->Cr2 = value;
                return true;
            case 3:
                return TrySetCr3(value) || RaiseProtection();
            case 4:
                return TrySetCr4(value);
            default:
                return TryWriteTaskPriority(value) || RaiseProtection();
        }
    }

    private const uint MsrApicBase = 0x1B;
    private const ulong ApicTaskPriority = 0x80, ApicBaseFrame = 0xF_FFFF_F000;

    /// <summary>CR8 is bits 4-7 of the local APIC's task priority register (SDM vol. 3, 10.8.6.1).</summary>
    private ulong ReadTaskPriority() => _bus.TryReadMsr(MsrApicBase, out ulong apic)
        ? (_bus.ReadMmio((apic & ApicBaseFrame) + ApicTaskPriority, 4) >> 4) & 15 : _state->Cr8;

    private bool TryWriteTaskPriority(ulong value)
    {
        if (value > 15)
        {
            return false;
        }

        _state->Cr8 = value;
        if (_bus.TryReadMsr(MsrApicBase, out ulong apic))
        {
            _bus.WriteMmio((apic & ApicBaseFrame) + ApicTaskPriority, 4, value << 4);
        }

        return true;
    }

    /// <summary>MOV to CR0. Undefined bits are ignored; PG without PE and NW without CD raise #GP. With
    /// EFER.LME, PG enters and leaves IA-32e mode (SDM vol. 3, 9.8.5).</summary>
    private bool TrySetCr0(ulong value)
    {
        value = (value & Cr0Defined) | ControlBits.Cr0ExtensionType;
        bool paging = (value & ControlBits.Cr0Paging) != 0;
        if ((paging && (value & ControlBits.Cr0Protection) == 0)
            || ((value & ControlBits.Cr0NotWriteThrough) != 0 && (value & ControlBits.Cr0CacheDisable) == 0))
        {
            return RaiseProtection();
        }

        ulong changed = _state->Cr0 ^ value;
        bool longEnabled = (_state->Efer & ControlBits.EferLongEnable) != 0;
        const uint longBit = SegmentCache.LongBit;
        bool longSegment = (_state->Segment(SegmentRegister.Cs).Attributes & longBit) != 0;
        if (longEnabled && (changed & ControlBits.Cr0Paging) != 0)
        {
            bool refused = paging
                ? (_state->Cr4 & ControlBits.Cr4Pae) == 0 || longSegment || !IsTaskWide
                : IsLongCode || (_state->Cr4 & ControlBits.Cr4Pcide) != 0;
            if (refused)
            {
                return RaiseProtection();
            }
        }

        const ulong pdptes = ControlBits.Cr0Paging | ControlBits.Cr0CacheDisable
            | ControlBits.Cr0NotWriteThrough;
        if (paging && (changed & pdptes) != 0 && !longEnabled
            && (_state->Cr4 & ControlBits.Cr4Pae) != 0 && !TryLoadPdptes(_state->Cr3))
        {
            return RaiseProtection();
        }

        _state->Cr0 = value;
        _state->Efer = paging && longEnabled ? _state->Efer | ControlBits.EferLongActive
            : _state->Efer & ~ControlBits.EferLongActive;
        const ulong translation = ControlBits.Cr0Paging | ControlBits.Cr0Protection
            | ControlBits.Cr0WriteProtect;
        if ((changed & translation) != 0)
        {
            _memory.FlushAll();
        }

        return true;
    }

    /// <summary>TR holds no 16-bit TSS, with which IA-32e mode cannot be entered.</summary>
    private bool IsTaskWide => (_state->Segment(SegmentRegister.Tr).Type & 8) != 0;

    /// <summary>Loads CR3; in PAE mode the PDPTEs with it. False (nothing recorded): a PDPTE has reserved
    /// bits set, or the address is beyond the physical ones.</summary>
    private bool TrySetCr3(ulong value)
    {
        const ulong pae = ControlBits.Cr4Pae;
        if (IsLongMode)
        {
            value = WithoutKeepBit(value);
            if (value >> PageWalk.PhysicalAddressBits != 0)
            {
                return false;
            }
        }
        else if ((_state->Cr0 & ControlBits.Cr0Paging) != 0 && (_state->Cr4 & pae) != 0
            && !TryLoadPdptes(value))
        {
            return false;
        }

        _state->Cr3 = value;
        _memory.FlushNonGlobal();
        return true;
    }

    private bool TrySetCr4(ulong value)
    {
        if ((value & ~_model.Cr4Mask) != 0 || (IsLongMode && (value & ControlBits.Cr4Pae) == 0))
        {
            return RaiseProtection();
        }

        ulong changed = _state->Cr4 ^ value;
        if (!MayEnableContexts(changed & value))
        {
            return RaiseProtection();
        }

        if ((value & ControlBits.Cr4Pae) != 0 && (_state->Cr0 & ControlBits.Cr0Paging) != 0
            && !IsLongMode && (changed & Cr4Pdptes) != 0 && !TryLoadPdptes(_state->Cr3))
        {
            return RaiseProtection();
        }

        _state->Cr4 = value;
        if ((changed & Cr4Translation) != 0)
        {
            _memory.FlushAll();
        }

        return true;
    }

    /// <summary>Reads the four PDPTEs at <paramref name="cr3"/> (32-byte aligned, below 4 GiB).</summary>
    private bool TryLoadPdptes(ulong cr3)
    {
        ulong* entries = stackalloc ulong[4];
        for (int i = 0; i < 4; i++)
        {
            entries[i] = PageWalk.ReadEntry64(_ram, (cr3 & 0xFFFF_FFE0) + ((ulong)i * 8));
            if (!PageWalk.IsValidPdpte(entries[i]))
            {
                return false;
            }
        }

        for (int i = 0; i < 4; i++)
        {
            _state->Pdpte[i] = entries[i];
        }

        return true;
    }

    /// <summary>LMSW: the low four bits of CR0; PE can be set but not cleared.</summary>
    private bool ExecuteLoadMachineStatus(in Instruction instruction)
    {
        if (!RequireRing0() || !TryReadWord(instruction, 0, out uint value))
        {
            return false;
        }

        return TrySetCr0((_state->Cr0 & ~0xEUL) | (value & 0xF));
    }

    /// <summary>UMIP: where the system's tables lie is no business of programs (SDM vol. 3, 2.5).</summary>
    private bool RequireShownToUser() =>
        (_state->Cr4 & ControlBits.Cr4Umip) == 0 || _state->Cpl == 0 || RaiseProtection();

    /// <summary>SMSW: a 32-bit register receives all of CR0, memory always 16 bits.</summary>
    private bool ExecuteStoreMachineStatus(in Instruction instruction) =>
        RequireShownToUser() && TryStoreSelector(instruction, (uint)_state->Cr0);

    /// <summary>SMSW, SLDT, STR and MOV from a segment register: memory receives 16 bits whatever the operand
    /// size.</summary>
    private bool TryStoreSelector(in Instruction instruction, uint value)
    {
        int size = instruction.Op0Kind == OpKind.Register ? SizeOf(instruction.Op0Register) : 2;
        return TryWriteOperand(instruction, 0, size, value);
    }

    private bool ExecuteClearTaskSwitched()
    {
        if (!RequireRing0())
        {
            return false;
        }

        _state->Cr0 &= ~ControlBits.Cr0TaskSwitched;
        return true;
    }

    /// <summary>LGDT and LIDT; with 16-bit operand size the base has 24 bits.</summary>
    private bool ExecuteLoadTable(in Instruction instruction, bool global, bool narrow)
    {
        if (!RequireRing0() || !TryReadTable(instruction, out uint limit, out ulong tableBase))
        {
            return false;
        }

        tableBase &= narrow ? 0xFF_FFFF : ulong.MaxValue;
        if (!IsCanonical(tableBase))
        {
            return RaiseProtection();
        }

        if (global)
        {
            _state->GdtLimit = limit;
            _state->GdtBase = tableBase;
            DropDescriptors();
        }
        else
        {
            _state->IdtLimit = limit;
            _state->IdtBase = tableBase;
        }

        return true;
    }

    /// <summary>Bytes of a table's limit and base in memory: the base has 8 bytes in 64-bit code.</summary>
    private int TableBytes => IsLongCode ? 10 : 6;

    private bool TryReadTable(in Instruction instruction, out uint limit, out ulong tableBase)
    {
        byte* image = stackalloc byte[16];
        int bytes = TableBytes;
        limit = 0;
        tableBase = 0;
        if (!TryOperandAddress(instruction, bytes, write: false, out ulong linear)
            || !_memory.TryReadBytes(linear, image, bytes, IsUser))
        {
            return false;
        }

        limit = *(ushort*)image;
        tableBase = bytes == 6 ? *(uint*)(image + 2) : *(ulong*)(image + 2);
        return true;
    }

    /// <summary>SGDT and SIDT store all 32 bits of the base with either operand size, as CPUs since the 386
    /// do.</summary>
    private bool ExecuteStoreTable(in Instruction instruction, uint limit, ulong tableBase)
    {
        byte* image = stackalloc byte[16];
        int bytes = TableBytes;
        *(ushort*)image = (ushort)limit;
        *(ulong*)(image + 2) = tableBase;
        return RequireShownToUser() && TryOperandAddress(instruction, bytes, write: true, out ulong linear)
            && _memory.TryWriteBytes(linear, image, bytes, IsUser);
    }

    /// <summary>LLDT.</summary>
    private bool ExecuteLoadLdt(uint selector)
    {
        if (!RequireRing0()
            || !TryPrepareLdt(selector, Vector.GeneralProtection, Vector.SegmentNotPresent,
                out SegmentCache ldtr))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Ldtr) = ldtr;
        return true;
    }

    /// <summary>INVLPG: the operand is an address, never accessed.</summary>
    private bool ExecuteInvalidatePage(in Instruction instruction)
    {
        if (!RequireRing0())
        {
            return false;
        }

        SegmentRegister register = SegmentOf(instruction);
        ulong linear = EffectiveAddress(instruction);
        if (!IsLongCode || register is SegmentRegister.Fs or SegmentRegister.Gs)
        {
            linear += _state->Segment(register).Base;
        }

        if (IsCanonical(linear))
        {
            _memory.FlushPage(linear);
        }

        return true;
    }

    /// <summary>LDS, LES, LFS, LGS and LSS.</summary>
    private bool ExecuteLoadFarPointer(in Instruction instruction, SegmentRegister register)
    {
        int size = SizeOf(instruction.Op0Register);
        if (!TryReadFarPointer(instruction, size, out ulong offset, out uint selector)
            || !TryLoadSegment(register, selector))
        {
            return false;
        }

        // Only MOV and POP to SS hold interrupts off; LSS loads ESP itself.
        WriteRegister(instruction.Op0Register, offset);
        _state->InterruptShadow = 0;
        return true;
    }

    /// <summary>LAR and LSL: ZF says whether the selector's descriptor is visible from here.</summary>
    private bool ExecuteLoadAccessOrLimit(in Instruction instruction, bool limit)
    {
        if (!TryReadWord(instruction, 1, out uint selector)
            || !TryInspect(selector & 0xFFFF, out ulong descriptor, out SegmentCache segment,
                out bool visible))
        {
            return false;
        }

        if (visible && (segment.Attributes & AttributeSegment) == 0)
        {
            // TSSs and LDTs have a limit; LAR also sees call gates and task gates.
            uint type = segment.Type;
            visible = IsLongMode ? type is 2 or 9 or 11 || (!limit && type == 12)
                : type is 1 or 2 or 3 or 9 or 11 || (!limit && (type is 4 or 5 or 12));
        }

        if (visible)
        {
            bool conforming = (segment.Attributes & (AttributeSegment | AttributeCode | AttributeConforming))
                == (AttributeSegment | AttributeCode | AttributeConforming);
            uint dpl = segment.Dpl;
            visible = conforming || (dpl >= _state->Cpl && dpl >= (selector & 3));
        }

        SetZero(visible);
        if (visible)
        {
            uint value = limit ? segment.Limit : (uint)(descriptor >> 32) & 0x00FF_FF00;
            WriteRegister(instruction.Op0Register, value);
        }

        return true;
    }

    /// <summary>VERR and VERW.</summary>
    private bool ExecuteVerify(in Instruction instruction, bool write)
    {
        if (!TryReadWord(instruction, 0, out uint selector)
            || !TryInspect(selector & 0xFFFF, out _, out SegmentCache segment, out bool visible))
        {
            return false;
        }

        uint attributes = segment.Attributes;
        visible = visible && (attributes & AttributeSegment) != 0
            && IsDataPrivilegeOk(ref segment, selector & 3, _state->Cpl);
        bool code = (attributes & AttributeCode) != 0;
        bool readWrite = (attributes & AttributeReadWrite) != 0;
        SetZero(visible && (write ? !code && readWrite : !code || readWrite));
        return true;
    }

    /// <summary>Reads a descriptor for inspection. False: a page fault; a selector that names nothing is just
    /// not
    /// <paramref name="found"/>.</summary>
    private bool TryInspect(uint selector, out ulong descriptor, out SegmentCache segment, out bool found)
    {
        descriptor = 0;
        segment = default;
        ulong linear = 0;
        found = !IsNull(selector) && (_paravirtual != null
            ? _paravirtual.TryDescriptor(selector, out descriptor)
            : TryLocateDescriptor(selector, out linear));
        if (!found)
        {
            return true;
        }

        if (_paravirtual == null && !_memory.TryRead(linear, 8, user: false, out descriptor))
        {
            return false;
        }

        segment = Unpack(descriptor, selector);
        return true;
    }

    /// <summary>ARPL: raises the RPL of a selector to that of another.</summary>
    private bool ExecuteAdjustRpl(in Instruction instruction)
    {
        if (!TryReadWord(instruction, 0, out uint selector))
        {
            return false;
        }

        uint rpl = (uint)ReadRegister(instruction.Op1Register) & 3;
        bool raise = (selector & 3) < rpl;
        if (raise && !TryWriteOperand(instruction, 0, 2, (selector & 0xFFFC) | rpl))
        {
            return false;
        }

        SetZero(raise);
        return true;
    }

    private void SetZero(bool zero) => _state->ArithFlags =
        (_state->ArithFlags & ~EflagsBits.Zero) | (zero ? EflagsBits.Zero : 0);

    /// <summary>CLI and STI (no VME or PVI): allowed if CPL &lt;= IOPL. STI holds interrupts off for one
    /// instruction.</summary>
    private bool ExecuteSetInterruptFlag(bool enable)
    {
        if (_state->Cpl > Iopl)
        {
            return RaiseProtection();
        }

        if (enable && _state->InterruptFlag == 0)
        {
            _state->InterruptShadow = 1;
        }

        _state->InterruptFlag = enable ? EflagsBits.Interrupt : 0;
        return true;
    }
}
