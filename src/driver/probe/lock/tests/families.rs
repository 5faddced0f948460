use std::collections::BTreeSet;

use probe_rs::config::{Chip, Registry};

use super::*;

#[test]
fn names_are_unique_and_read_back() {
    let names: BTreeSet<_> = Family::ALL.map(Family::name).into();
    assert_eq!(names.len(), Family::ALL.len());
    for family in Family::ALL {
        assert_eq!(family.name().parse(), Ok(family));
        assert_eq!(family.profile().name, family.to_string());
        assert_eq!(serde_json::to_string(&family).unwrap(), format!("\"{family}\""));
    }
}

#[test]
fn chips_have_the_family_that_their_name_says() {
    for (chip, family) in [
        ("nRF51822_xxAA", Family::Nrf51),
        ("nRF52840_xxAA", Family::Nrf52),
        ("nRF5340_xxAA", Family::Nrf53),
        ("nRF9161_xxAA", Family::Nrf91),
        ("nRF54L15", Family::Nrf54l),
        ("STM32F030C6", Family::Stm32F0F3),
        ("STM32F303CB", Family::Stm32F0F3),
        ("STM32F103C8", Family::Stm32F1),
        ("STM32F429ZI", Family::Stm32F2F4F7),
        ("STM32L053R8", Family::Stm32L0),
        ("STM32L152RE", Family::Stm32L1),
        ("STM32G431CB", Family::Stm32G0G4L4),
        ("STM32WB55RG", Family::Stm32Wb),
        ("STM32WL55CC", Family::Stm32Wb),
        ("STM32H743ZI", Family::Stm32H7),
        ("STM32U575ZI", Family::Stm32L5U5),
        ("ATSAMD21G18A", Family::Sam),
        ("ATSAME54P20A", Family::Sam),
        ("MKL25Z128VLK4", Family::Kinetis),
        ("LPC845M301JBD48", Family::LpcCrp),
        ("LPC55S69JBD100", Family::Lpc55),
        ("EFM32PG1B200F256GM48", Family::Efm32),
        ("EFR32BG13P632F512", Family::Efm32),
        ("EFM32PG22C200F512IM40", Family::Efr32S2),
        ("EFR32MG24B210F1536IM48", Family::Efr32S2),
        ("CC2652R1F", Family::Cc13),
        ("RP2040", Family::Rp2040),
        ("RP235x", Family::Rp2350),
    ] {
        assert_eq!(Family::of_chip(chip), Ok(family), "{chip}");
    }
}

#[test]
fn other_chips_are_refused_with_the_families_that_there_are() {
    for chip in ["ESP32-C3", "STM32WBA52CE", "STM32H7R3A8", "ATSAML10E16A", "CC2674R10", "ATSAM4S16B", "STM32H503CB", ""] {
        let error = Family::of_chip(chip).unwrap_err().to_string();
        assert!(error.contains(&format!("chip {chip:?}")) && error.contains("nrf52, ") && error.contains("rp2350"), "{error}");
    }
    assert!("nRF52".parse::<Family>().unwrap_err().to_string().contains("family \"nRF52\""));
}

#[test]
fn every_beginning_of_a_name_is_in_small_letters_and_of_one_family() {
    let mut seen = BTreeSet::new();
    for family in Family::ALL {
        assert!(!family.profile().chips.is_empty());
        for prefix in family.profile().chips {
            assert_eq!(*prefix, prefix.to_lowercase());
            assert!(seen.insert(*prefix), "{prefix} stands twice");
        }
    }
}

/// The table against probe-rs' own description of the chips: the access port with the core, and the version of the debug interface.
#[test]
fn the_memory_port_is_that_of_probe_rs_description() {
    let registry = Registry::from_builtin_families();
    let mut compared = BTreeSet::new();
    for description in registry.families() {
        for chip in &description.variants {
            let (Ok(family), Some(port)) = (Family::of_chip(&chip.name), core_port(chip)) else { continue };
            let asked = questions(family).iter().any(|transaction| {
                transaction.port == port && transaction.address == port.at(mem_ap::DRW) && transaction.access == Access::Read
            });
            assert!(asked, "{}: {family} does not read through {port}", chip.name);
            compared.insert(family);
        }
    }
    // probe-rs has no Kinetis K but the S32K1.
    assert_eq!(compared, Family::ALL.into());
}

/// The access port of a chip's first core. probe-rs does not name the type of the address, so it is read from its debug text.
fn core_port(chip: &Chip) -> Option<Port> {
    let text = format!("{:?}", chip.cores.first()?.core_access_options);
    let number = |after: &str| {
        let digits: String = text.split(after).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    number("V1(").and_then(|number| u8::try_from(number).ok()).map(Port::Ap).or_else(|| number("V2(").map(Port::ApAt))
}
