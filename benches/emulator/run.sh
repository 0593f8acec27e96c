#!/bin/sh
# Runs test programs on an emulated Sapphire Rapids (AVX-512, AVX512-BF16, AMX), whatever this machine has.
#
#   benches/emulator/run.sh PROGRAM...
#
# Builds Bochs from Debian's source, with the register that Linux needs before it grants AMX, boots Debian's kernel with the
# programs as its only files and prints what they print. Fails if one fails. Needs Debian's gcc, make, curl, cpio, busybox-static,
# isolinux, syslinux-common, genisoimage and vgabios; keeps what it builds in target/emulator.
set -eu
# Taken from Debian's mirror and checked.
MIRROR=http://deb.debian.org/debian/pool/main
BOCHS=bochs_3.0+dfsg.orig.tar.xz
BOCHS_SHA=78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b
BIOS=bochsbios_3.0+dfsg-1_all.deb
BIOS_SHA=13f8f4bdd9bb5c07378b7e39042cb631ebdd41d00b0f1a3091caab17ca946a5b
# A kernel of the cloud flavour since 6.1; KERNEL=path takes one at hand.
KERNEL_DEB=linux-image-6.12.117+deb13-cloud-amd64_6.12.117-1_amd64.deb
KERNEL_SHA=e9893e5295d0549b8852611f12a4b8b5f6cc4b8128dcc2086b9847793b904ab7

[ $# -gt 0 ] || { echo "usage: $0 PROGRAM..." >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/target/emulator
mkdir -p "$work"

fetch() { # folder, file, sha256
    [ -f "$work/$2" ] || curl -sfL -o "$work/$2" "$MIRROR/$1/$2"
    echo "$3  $work/$2" | sha256sum -c --quiet -
}

fetch b/bochs $BOCHS $BOCHS_SHA
fetch b/bochs $BIOS $BIOS_SHA
[ -d "$work/bios" ] || dpkg-deb -x "$work/$BIOS" "$work/bios"
if [ -z "${KERNEL:-}" ]; then
    fetch l/linux-signed-amd64 $KERNEL_DEB $KERNEL_SHA
    [ -d "$work/kernel" ] || dpkg-deb -x "$work/$KERNEL_DEB" "$work/kernel"
    KERNEL=$(ls "$work"/kernel/boot/vmlinuz-*)
fi

# What Bochs 3.0 lacks for AMX under Linux: extended feature disable (XFD), without which Linux refuses the tiles, and a right
# XSAVE of them: it swaps a tile's rows and bytes, saves half of the rows, and takes tiles in use for idle ones. And it refuses
# gathers by index registers from zmm16 on, whose fifth bit it takes for that of an operand they do not have.
mend() (
    cd "$work/bochs-3.0/cpu"
    sed -i '/i->setSibIndex(i->sibIndex() | (vvv & 0x10));/a vvv \&= 0xf;' decoder/fetchdecode32.cc
    sed -i -e '/tilecfg\.vmm16u(8+n) *=/s/\.rows;/.bytes_per_row;/' \
        -e '/tilecfg\.vmmubyte(48+n) *=/s/\.bytes_per_row;/.rows;/' \
        -e 's/row < BX_TILE_REGISTERS; row++/row < BX_TILE_MAX_ROWS; row++/' \
        -e 's/amx->tile_use_tracker == 0);/amx->tile_use_tracker != 0);/' xsave.cc
    sed -i '/^ *Bit64u ia32_xss;/a Bit64u ia32_xfd, ia32_xfd_err;' cpu.h
    sed -i '/msr\.ia32_xss = 0;/a BX_CPU_THIS_PTR msr.ia32_xfd = BX_CPU_THIS_PTR msr.ia32_xfd_err = 0;' init.cc
    sed -i '/BX_MSR_XSS = 0xDA0,/a BX_MSR_XFD = 0x1C4, BX_MSR_XFD_ERR = 0x1C5,' msr.h
    sed -i -e '/msr_desc\[BX_MSR_XSS\]/a msr_desc[BX_MSR_XFD] = new MSR_Descriptor("XFD", BX_ISA_XSAVES); msr_desc[BX_MSR_XFD_ERR] = new MSR_Descriptor("XFD_ERR", BX_ISA_XSAVES);' msr.cc
    # The first case of this name reads, the second writes.
    awk '/case BX_MSR_XSS:/ && ++seen == 1 {
             print "case BX_MSR_XFD: val64 = BX_CPU_THIS_PTR msr.ia32_xfd; break;"
             print "case BX_MSR_XFD_ERR: val64 = BX_CPU_THIS_PTR msr.ia32_xfd_err; break;"
         }
         /case BX_MSR_XSS:/ && seen == 2 {
             print "case BX_MSR_XFD: BX_CPU_THIS_PTR msr.ia32_xfd = val_64; handleAvxModeChange(); break;"
             print "case BX_MSR_XFD_ERR: BX_CPU_THIS_PTR msr.ia32_xfd_err = val_64; break;"
             seen++
         }
         { print }' msr.cc > msr.new && mv msr.new msr.cc
    sed -i -e '0,/leaf->eax |= (1<<3);/s//leaf->eax |= (1<<3) | (1<<4);/' \
        -e '/leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;/a if (subfunction == xcr0_t::BX_XCR0_XTILEDATA_BIT) leaf->ecx |= (1<<2);' cpuid.cc
    awk '/::handleAvxModeChange\(void\)/ { mode = 1 }
         /::BxNoAMX\(/ { none = 1 }
         mode && /set_amx_ok\(\);/ { sub(/set_amx_ok\(\);/, "if (BX_CPU_THIS_PTR msr.ia32_xfd \\& BX_XCR0_XTILEDATA_MASK) clear_amx_ok(); else set_amx_ok();"); mode = 0 }
         none && /BX_ASSERT\(0\)/ {
             print "if (BX_CPU_THIS_PTR msr.ia32_xfd & BX_XCR0_XTILEDATA_MASK) {"
             print "  BX_CPU_THIS_PTR msr.ia32_xfd_err |= BX_XCR0_XTILEDATA_MASK; exception(BX_NM_EXCEPTION, 0); }"
             none = 0
         }
         { print }' proc_ctrl.cc > proc_ctrl.new && mv proc_ctrl.new proc_ctrl.cc
)

if [ ! -x "$work/bochs" ]; then
    echo "building the emulator" >&2
    rm -rf "$work/bochs-3.0"
    tar -xf "$work/$BOCHS" -C "$work"
    mend
    (
        cd "$work/bochs-3.0"
        CXXFLAGS=-O3 CFLAGS=-O3 ./configure --enable-cpu-level=6 --enable-x86-64 --enable-avx --enable-evex --enable-amx \
            --enable-repeat-speedups --enable-fast-function-calls --enable-handlers-chaining --enable-all-optimizations \
            --with-nogui --disable-docbook
        make -j"$(nproc)"
    ) > "$work/build.log" 2>&1 || { echo "the build failed: see $work/build.log" >&2; exit 1; }
    cp "$work/bochs-3.0/bochs" "$work/bochs"
fi

files=$work/files
rm -rf "$files" "$work/disk" "$work/serial"
mkdir -p "$files/bin" "$files/tests" "$files/proc" "$files/sys" "$files/dev" "$files/tmp" "$work/disk"
cp /bin/busybox "$files/bin/busybox"
ln -s busybox "$files/bin/sh"
for program in "$@"; do
    cp "$program" "$files/tests/"
    strip --strip-debug "$files/tests/$(basename "$program")"
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$files$(dirname "$library")"
        cp -L "$library" "$files$library"
    done
done
cat > "$files/init" <<END
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mount -t tmpfs none /tmp
# Two threads on one processor: tiles must survive being switched.
export PATH=/bin RUST_BACKTRACE=1 RAYON_NUM_THREADS=2 COLLAPSE_KERNEL_PATH=${COLLAPSE_KERNEL_PATH:-}
failed=0
for test in /tests/*; do
    echo "== \$(basename \$test)"
    \$test --test-threads 1 --nocapture ${FILTER:-} || failed=1
done
echo "emulated tests: exit \$failed"
poweroff -f
END
chmod +x "$files/init"
(cd "$files" && find . | cpio -o -H newc 2> /dev/null) > "$work/disk/initrd"
cp "$KERNEL" "$work/disk/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disk/"
cat > "$work/disk/isolinux.cfg" <<END
DEFAULT linux
LABEL linux
 KERNEL vmlinuz
 APPEND initrd=initrd console=ttyS0 mitigations=off nokaslr tsc=reliable lpj=1000000 acpi=off idle=halt nowatchdog loglevel=4 random.trust_cpu=on
END
genisoimage -quiet -o "$work/disk.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disk"
cat > "$work/bochsrc" <<END
cpu: model=sapphire_rapids, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest=2048, host=2048
romimage: file="$work/bios/usr/share/bochs/BIOS-bochs-latest"
vgaromimage: file=/usr/share/vgabios/vgabios.bin
vga: extension=vbe
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="$work/disk.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$work/serial"
clock: sync=none
display_library: nogui
log: /dev/null
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
END
: > "$work/serial"
"$work/bochs" -q -f "$work/bochsrc" < /dev/null > "$work/bochs.log" 2>&1 &
emulator=$!
tail -n +1 -f --pid=$emulator "$work/serial" &
trap 'kill $emulator 2> /dev/null || true' EXIT INT TERM
# The machine halts but cannot switch itself off.
while kill -0 $emulator 2> /dev/null && ! grep -q '^emulated tests: exit' "$work/serial"; do
    sleep 2
done
sleep 1
grep -q '^emulated tests: exit 0' "$work/serial"
