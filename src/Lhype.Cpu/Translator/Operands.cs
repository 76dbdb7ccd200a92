// Memory operands in emitted code: the effective address, the inline TLB check, and the cold stub behind it.
//
//      lea   r8d, [effective address]          flag-free; the 32-bit result wraps as the guest's does
//      (park flags, if live)
//      mov   r9d, r8d / shr r9d, 8 / and r9d, 7FF0h            TLB slot of the first byte
//      lea   r10d, [r8 + size - 1] / and r10d, FFFFF000h       page of the last byte
//      cmp   r10d, [r15 + r9 + table] / jne cold               a page crossing misses by construction
//      add   r8, [r15 + r9 + table + 8]                        host address
//  H:  (unpark flags, if the instruction needs them)
//      body of the instruction on [r8]
//  E:
//
// Kernel code (ModeKey.LinearMap) checks whether the address is in the kernel's map of memory
// (EmitMapCheck), and looks into the TLBs out of line.
//
// The cold stub calls Prepare. A load then runs the body at H on whatever r8 points to. A store that was
// bounced runs its own copy of [H, E) and then commits.
//
// In a window (ModeKey.Window) there is no check: the body accesses gs:[linear address], or in 64-bit code
// what LongWindowOperands says, and the host's MMU faults where the guest's TLB would miss. The instruction
// may then be run again from its start, or through the TLBs if its page cannot be shown, so nothing of it
// may be committed before its last access.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

/// <summary>Code that is emitted after the block's hot part.</summary>
internal struct ColdStub
{
    internal ColdKind Kind;
    /// <summary>rel32 in the hot code that leads here.</summary>
    internal int Patch;
    /// <summary>AccessInfo of a memory operand.</summary>
    internal uint Info;
    /// <summary>Start (H) and end (E) of the body in the hot code.</summary>
    internal int BodyStart;
    internal int BodyEnd;
    internal int Index;
    /// <summary>Link target, trap site, or the offset of the block for a poll.</summary>
    internal int Target;
    internal bool FlagsParked;
    /// <summary>The jump may be part of a loop or a recursion: the budget must be looked at.</summary>
    internal bool MayLoop;
    /// <summary>The jump leads to the translation without stack groups.</summary>
    internal bool Ungrouped;
    /// <summary>A stack access that missed the page of the stack.</summary>
    internal bool Stack;
}

/// <summary>Kinds of cold code.</summary>
internal enum ColdKind : byte
{
    Load,
    Store,
    /// <summary>A store whose instruction C# executes if the operand cannot be reached directly.</summary>
    StoreOrTrap,
    Poll,
    Link,
    Trap,
    CrossPage,
    StackGroup,
    /// <summary>A look into CpuState.Regions.</summary>
    Region,
}

internal sealed unsafe partial class Translator
{
    /// <summary>The stub of the operand whose body is being emitted, or -1.</summary>
    private int _openOperand = -1;
    private int _operandBase;
    private int _operandIndex;
    private int _operandOffset;

    /// <summary>Emits address and check for the instruction's memory operand; then r8 is the host address and
    /// the caller emits the body, ending with <see cref="EndOperand"/>. In the window of a 64-bit program the
    /// operand may be somewhere else than at [r8], which LongInstructionCopy
    /// (<paramref name="copied"/>) and EmitOnOperand know.</summary>
    private void BeginOperand(in Instruction instruction, int size, bool read, bool write,
        bool copied = false)
    {
        if (Windowed && _long)
        {
            BeginWindowOperand(instruction, copied);
            BeginBody(instruction);
            return;
        }

        SegmentRegister segment = SegmentOf(instruction.MemorySegment);
        bool segmented = NeedsSegmentCheck(segment, write);
        bool onStack = UsesStackPage && IsStackOperand(instruction, out _, out _);
        if (onStack && _grouped[_current])
        {
            EmitGroupedAddress((int)instruction.MemoryDisplacement64);
            NoteBody(instruction);
            return;
        }

        EmitAddress(instruction, segmented ? null : segment);
        BeginAccess(instruction, size, read, write, segmented, segment, onStack);
    }

    /// <summary>Bytes of a stack slot and of a near code pointer.</summary>
    private int SlotBytes => _long ? 8 : 4;

    /// <summary>As <see cref="BeginOperand"/>, for the stack slot at ESP + <paramref name="displacement"/> in
    /// flat mode.</summary>
    private void BeginStackOperand(in Instruction instruction, int displacement, bool write)
    {
        if (Windowed)
        {
            if (_long)
            {
                BeginWindowStackOperand(displacement);
            }
            else
            {
                SetOperand(Host.GuestEsp, -1, displacement);
            }

            BeginBody(instruction);
            return;
        }

        if (_grouped[_current])
        {
            EmitGroupedAddress(displacement);
            NoteBody(instruction);
            return;
        }

        _emit.Lea(Host.Address, Host.GuestEsp, displacement, wide: _long);
        BeginAccess(instruction, SlotBytes, !write, write, segmented: false, SegmentRegister.Ss,
            UsesStackPage);
    }

    /// <summary>TLB tags have 64 bits while EFER.LMA is set, even for the 32-bit addresses of compatibility
    /// mode.</summary>
    private bool LongTags => (_mode & ModeKey.LongMode) != 0;

    private bool Windowed => ModeKey.HasWindow(_mode);

    /// <summary>The body of the instruction starts here, on the operand at [r8].</summary>
    private void NoteBody(in Instruction instruction)
    {
        SetOperand(Host.Address, -1, 0);
        BeginBody(instruction);
    }

    private void BeginBody(in Instruction instruction)
    {
        FlagsForBody(instruction);
        NoteInstruction();
    }

    /// <summary>In a body: an opcode on a register and the open operand.</summary>
    private void EmitOnOperand(int opcode, int register, bool wide = false)
    {
        if (Windowed && !_long)
        {
            _emit.Byte(0x65);
            if (_operandBase != Host.Address)
            {
                // A 32-bit address wraps as the guest's does.
                _emit.Byte(0x67);
            }
        }

        _emit.Rex(wide, register, System.Math.Max(_operandIndex, 0), _operandBase, force: false);
        _emit.Byte(opcode);
        _emit.Memory(register, _operandBase, _operandIndex, _operandOffset);
    }

    /// <summary>In a body: mov register, operand, which is a stack slot or a code pointer.</summary>
    private void EmitLoadOperand(int register) => EmitOnOperand(0x8B, register, _long);

    /// <summary>In a body: mov operand, register, for the same.</summary>
    private void EmitStoreOperand(int register) => EmitOnOperand(0x89, register, _long);

    /// <summary>The check on the linear address in r8.</summary>
    private void BeginAccess(in Instruction instruction, int size, bool read, bool write, bool segmented,
        SegmentRegister segment, bool onStack = false)
    {
        if (Windowed)
        {
            if (_long)
            {
                EmitWindowAddress(HintFor(instruction));
            }

            NoteBody(instruction);
            return;
        }

        FreeFlags();
        bool user = (_mode & ModeKey.User) != 0;
        uint info = (uint)size | (read ? AccessInfo.Read : 0) | (write ? AccessInfo.Write : 0)
            | (user ? AccessInfo.User : 0) | (Parked ? AccessInfo.FlagsParked : 0)
            | (NeedsAlignment(instruction, size) ? AccessInfo.Aligned : 0)
            | (IsWaitingX87(instruction) ? AccessInfo.X87 : 0);
        ref ColdStub stub = ref _cold[_coldCount];
        stub = new ColdStub { Kind = write ? ColdKind.Store : ColdKind.Load, Index = _current };
        if (_long)
        {
            // For an address that is not canonical: SS raises #SS.
            info |= (uint)segment << AccessInfo.SegmentShift;
        }

        if (segmented)
        {
            info |= AccessInfo.Segmented | ((uint)segment << AccessInfo.SegmentShift);
            stub.Patch = _emit.JumpForward();
        }
        else if (onStack)
        {
            stub.Stack = true;
            stub.Patch = EmitStackCheck(size);
        }
        else if (Mapped)
        {
            stub.Patch = EmitMapCheck(write);
        }
        else
        {
            int table = CpuState.DataTlbOffset(user, write);
            bool wide = LongTags;
            EmitTlbSlot();
            if (size > 1)
            {
                _emit.Lea(Host.Scratch2, Host.Address, size - 1, wide);
            }
            else
            {
                _emit.Move(Host.Scratch2, Host.Address, wide);
            }

            _emit.Arithmetic(4, Host.Scratch2, -4096, wide);
            _emit.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, table, wide);
            stub.Patch = _emit.JumpForward(Condition.NotEqual);
            _emit.OpIndexed(0x03, Host.Address, Host.State, Host.Scratch, table + 8, wide: true);
        }

        stub.Info = info;
        stub.BodyStart = _emit.Offset;
        _openOperand = _coldCount++;
        NoteBody(instruction);
        stub.FlagsParked = Parked;
    }

    private bool Mapped => ModeKey.HasLinearMap(_mode);

    /// <summary>r8 = host address of the linear address in it, if it is in the kernel's map (see LinearMap).
    /// Returns the jump for everything else.</summary>
    private int EmitMapCheck(bool write)
    {
        if (write)
        {
            _emit.Move(Host.Scratch, Host.Address);
            _emit.ShiftRight(Host.Scratch, 12);
            _emit.CompareByteIndexed(Host.State, Host.Scratch, Offset.StoreBarriers, 0);
        }
        else
        {
            _emit.Lea(Host.Scratch, Host.Address, -(int)_memory.Map.Start);
            _emit.OperateLoad(Alu.Compare, Host.Scratch, Host.State, Offset.LinearMapLimit);
        }

        int outside = _emit.JumpForward(write ? Condition.NotEqual : Condition.NotBelow);
        _emit.OperateLoad(Alu.Add, Host.Address, Host.State, Offset.LinearMapDelta, wide: true);
        return outside;
    }

    /// <summary>x87 and MMX instructions report pending x87 exceptions, but for the FN forms (SDM vol. 1,
    /// 8.6).</summary>
    private bool IsWaitingX87(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register
                && instruction.GetOpRegister(i) is >= Register.MM0 and <= Register.MM7)
            {
                return true;
            }
        }

        return _classes.IsX87(instruction.Code)
            && instruction.Mnemonic is not (Mnemonic.Fnstcw or Mnemonic.Fnstsw);
    }

    /// <summary>16-byte SSE operands must be aligned, but for the explicitly unaligned moves (SDM vol. 1,
    /// 4.1.1); of AVX the explicitly aligned ones alone.</summary>
    private static bool NeedsAlignment(in Instruction instruction, int size) =>
        instruction.Code.Encoding() == EncodingKind.VEX
        ? size >= 16 && instruction.Mnemonic is Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa
            or Mnemonic.Vmovntps or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq or Mnemonic.Vmovntdqa
        : size == 16 && NeedsAlignment(instruction.Mnemonic);

    private static bool NeedsAlignment(Mnemonic mnemonic) =>
        mnemonic is not (Mnemonic.Movups or Mnemonic.Movupd
        or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Maskmovdqu or Mnemonic.Pcmpestri
        or Mnemonic.Pcmpestrm
        or Mnemonic.Pcmpistri or Mnemonic.Pcmpistrm or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64);

    /// <summary>The body of the open operand's instruction is complete: everything it does lies between H and
    /// here.</summary>
    private void EndOperand()
    {
        if (_openOperand >= 0)
        {
            _cold[_openOperand].BodyEnd = _emit.Offset;
            _openOperand = -1;
        }
    }

    /// <summary>True for what a window cannot run: accesses C# must check against a descriptor, and bodies
    /// that lend a guest register to the address while they access it.</summary>
    private bool LeavesWindow(in Instruction instruction)
    {
        if (instruction.Mnemonic is Mnemonic.Maskmovq or Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu)
        {
            return true;
        }

        bool memory = HasMemoryOperand(instruction);
        if (instruction.Mnemonic == Mnemonic.Lea || (!memory && !instruction.IsStringInstruction))
        {
            return false;
        }

        return !_long && (instruction.MemorySegment == Register.CS
            || NeedsSegmentCheck(SegmentOf(instruction.MemorySegment), write: false)
            || (memory && InstructionCopy.UsesHighByte(instruction) && !CopiesAddress(instruction)));
    }

    /// <summary>True if the instruction can be copied into a window with its own address bytes.</summary>
    private static bool CopiesAddress(in Instruction instruction) => !IsAddress16(instruction)
        && instruction.MemorySegment is not (Register.FS or Register.GS)
        && !(instruction.MemoryBase == Register.ESP && InstructionCopy.UsesHighByte(instruction))
        && instruction.CodeSize == CodeSize.Code32;

    /// <summary>True if the access must be checked against the descriptor by C#: the mode is not flat, or the
    /// segment is one the mode says nothing about, or the access is one a flat segment refuses.</summary>
    private bool NeedsSegmentCheck(SegmentRegister segment, bool write) => segment switch
    {
        SegmentRegister.Fs => (_mode & ModeKey.FsOpen) == 0,
        SegmentRegister.Gs => (_mode & ModeKey.GsOpen) == 0,
        SegmentRegister.Cs => write || (_mode & ModeKey.Flat) == 0,
        _ => (_mode & ModeKey.Flat) == 0,
    };

    private static SegmentRegister SegmentOf(Register register) => register switch
    {
        Register.ES => SegmentRegister.Es,
        Register.CS => SegmentRegister.Cs,
        Register.SS => SegmentRegister.Ss,
        Register.FS => SegmentRegister.Fs,
        Register.GS => SegmentRegister.Gs,
        _ => SegmentRegister.Ds,
    };

    /// <summary>r8d = effective address, plus the segment base if it is FS or GS. No flags are
    /// touched.</summary>
    private void EmitAddress(in Instruction instruction, SegmentRegister? segment)
    {
        if (_long)
        {
            EmitLongEffectiveAddress(Host.Address, instruction);
            EmitSegmentBase(segment);
            return;
        }

        Register baseRegister = instruction.MemoryBase;
        Register indexRegister = instruction.MemoryIndex;
        int displacement = (int)instruction.MemoryDisplacement32;
        EmitEffectiveAddress(Host.Address, baseRegister, indexRegister, instruction.MemoryIndexScale,
            displacement,
            IsAddress16(instruction));
        EmitSegmentBase(segment);
    }

    private static bool IsAddress16(in Instruction instruction) => instruction.MemoryDisplSize == 2
        || instruction.MemoryBase is Register.BX or Register.BP or Register.SI or Register.DI
        || instruction.MemoryIndex is Register.SI or Register.DI;

    /// <summary>LEA in host registers. 16-bit addresses wrap at 64 KiB.</summary>
    private void EmitEffectiveAddress(int destination, Register baseRegister, Register indexRegister,
        int scale,
        int displacement, bool address16)
    {
        if (baseRegister == Register.None && indexRegister == Register.None)
        {
            _emit.MoveImmediate(destination, address16 ? (ushort)displacement : displacement);
            return;
        }

        int host = baseRegister == Register.None ? -1 : Host.Of(Number(baseRegister));
        if (indexRegister == Register.None)
        {
            _emit.Lea(destination, host, displacement);
        }
        else
        {
            int index = Host.Of(Number(indexRegister));
            int scaleBits = scale switch { 1 => 0, 2 => 1, 4 => 2, _ => 3 };
            _emit.Rex(false, destination, index, host < 0 ? 0 : host, force: false);
            _emit.Byte(0x8D);
            bool small = host >= 0 && displacement == (sbyte)displacement;
            _emit.Byte((host < 0 ? 0 : small ? 0x40 : 0x80) | ((destination & 7) << 3) | 4);
            _emit.Byte((scaleBits << 6) | ((index & 7) << 3) | (host < 0 ? 5 : host & 7));
            if (small)
            {
                _emit.Byte(displacement);
            }
            else
            {
                _emit.Int32(displacement);
            }
        }

        if (address16)
        {
            _emit.TruncateTo16(destination);
        }
    }

    /// <summary>LEA in host registers for 64-bit code, to 64 bits, or to 32 with an address-size prefix.
    /// Guest registers 8 to 15 come through r8 and r9. No flags are touched.</summary>
    private void EmitLongEffectiveAddress(int destination, in Instruction instruction,
        bool wideResult = true)
    {
        Register baseRegister = instruction.MemoryBase;
        Register indexRegister = instruction.MemoryIndex;
        long displacement = (long)instruction.MemoryDisplacement64;
        if (baseRegister is Register.RIP or Register.EIP)
        {
            // Decoded at address 0, so relative to this instruction.
            bool full = wideResult && baseRegister == Register.RIP;
            _emit.LeaFar(destination, Host.CodePage, displacement + _offsets[_current], full);
            return;
        }

        if (baseRegister == Register.None && indexRegister == Register.None)
        {
            displacement = instruction.MemoryDisplSize == 4 || !wideResult
                ? (uint)displacement : displacement;
            _emit.MoveConstant(destination, displacement);
            return;
        }

        bool wide = wideResult
            && (baseRegister != Register.None ? baseRegister : indexRegister) >= Register.RAX;
        int host = baseRegister == Register.None ? -1 : LoadedRegister(baseRegister, Host.Address);
        if (indexRegister == Register.None)
        {
            _emit.Lea(destination, host, (int)displacement, wide);
            return;
        }

        int index = LoadedRegister(indexRegister, Host.Scratch);
        _emit.LeaScaled(destination, host, index, instruction.MemoryIndexScale, (int)displacement, wide);
    }

    /// <summary>The host register that holds a guest general register: its own, or
    /// <paramref name="scratch"/>, loaded from the state.</summary>
    private int LoadedRegister(Register register, int scratch)
    {
        int number = LongInstructionCopy.NumberOf(register);
        return number < 8 ? Host.Of(number) : _high.Load(number, scratch);
    }

    /// <summary>Where a result for a guest general register is to be computed: its own host register, or
    /// <paramref name="scratch"/>, followed by <see cref="StoreLoaded"/>.</summary>
    private int TargetRegister(Register register, int scratch)
    {
        int number = LongInstructionCopy.NumberOf(register);
        return number < 8 ? Host.Of(number) : _high.Holder(number, scratch);
    }

    /// <summary>Completes a write to a guest general register that lives in the state.</summary>
    private void StoreLoaded(Register register, int scratch)
    {
        int number = LongInstructionCopy.NumberOf(register);
        if (number >= 8)
        {
            _high.Store(number, _high.Holder(number, scratch));
        }
    }

    /// <summary>The encoding (0-7) of a 16- or 32-bit general register.</summary>
    private static int Number(Register register) =>
        register >= Register.EAX ? register - Register.EAX : register - Register.AX;
}
